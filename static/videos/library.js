// The library: filters that apply while typing, and videos that are selected together.
// The list itself comes from the server, as #library; without this file the page is a plain form.
(() => {
  "use strict";

  const TYPING_MS = 300;
  const UNDO_MS = 30000;
  const form = document.querySelector("[data-library-filter]");
  const dialog = document.getElementById("library-dialog");
  const library = () => document.getElementById("library");

  // ---- The list follows the address: one request at a time, the last wish counts ----
  let isBusy = false;
  let shown = location.pathname + location.search;

  async function follow() {
    if (isBusy) return; // the loop below looks again
    isBusy = true;
    try {
      while (shown !== location.pathname + location.search) {
        shown = location.pathname + location.search;
        library().setAttribute("aria-busy", "true");
        await window.htmx.ajax("GET", shown, { target: "#library", select: "#library", swap: "outerHTML" });
      }
    } finally {
      isBusy = false;
      library()?.removeAttribute("aria-busy");
      count();
    }
  }

  function address() {
    const named = [...new FormData(form)].filter(([name, value]) => value && !(name === "sort" && value === "newest"));
    const query = new URLSearchParams(named).toString();
    return form.getAttribute("action") + (query ? `?${query}` : "");
  }

  function go(isNew) {
    const wanted = address();
    if (wanted === location.pathname + location.search) return;
    history[isNew ? "pushState" : "replaceState"]({ library: true }, "", wanted);
    follow();
  }

  if (form) {
    let timer;
    form.addEventListener("input", (event) => {
      if (event.target.type !== "search") return;
      clearTimeout(timer);
      timer = setTimeout(() => go(false), TYPING_MS);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      go(true);
    });
    window.addEventListener("popstate", () => {
      clearTimeout(timer);
      const asked = new URLSearchParams(location.search);
      for (const field of form.elements) {
        if (field.name) field.value = asked.get(field.name) ?? (field.name === "sort" ? "newest" : "");
      }
      follow();
    });
  }

  // ---- Selecting ----
  let last = null; // the checkbox that was used last: where a range begins
  const picks = () => [...document.querySelectorAll("[data-choice]")];

  function count() {
    const all = picks();
    const picked = all.filter((pick) => pick.checked).length;
    const bar = document.getElementById("bulk");
    const every = document.querySelector("[data-pick-shown]");
    document.querySelector("[data-pick-all]")?.removeAttribute("hidden");
    if (every) {
      every.checked = picked > 0 && picked === all.length;
      every.indeterminate = picked > 0 && picked < all.length;
    }
    if (!bar) return;
    const fitting = bar.querySelector("[data-pick-fitting]");
    if (fitting && !picked) fitting.checked = false;
    const number = fitting?.checked ? Number(bar.dataset.total) : picked;
    const said = number ? `${number.toLocaleString("en")} selected` : "Nothing selected";
    const words = bar.querySelector("[data-picked-count]");
    if (words.textContent !== said) words.textContent = said;
    bar.querySelector("[data-pick-none]").hidden = false;
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const pick = target?.closest("[data-choice]");
    if (pick) {
      const all = picks();
      if (event.shiftKey && last && all.includes(last)) {
        const [from, to] = [all.indexOf(last), all.indexOf(pick)].sort((one, other) => one - other);
        for (const each of all.slice(from, to + 1)) each.checked = pick.checked;
      }
      last = pick;
    } else if (target?.closest("[data-pick-shown]")) {
      const { checked } = target.closest("[data-pick-shown]");
      for (const each of picks()) each.checked = checked;
    } else if (target?.closest("[data-pick-none]")) {
      for (const each of picks()) each.checked = false;
      document.querySelector("[data-pick-shown]")?.focus();
    } else if (target?.closest("[data-not-now]")?.closest("dialog")) {
      event.preventDefault();
      target.closest("dialog").close();
      return;
    } else if (!target?.closest("[data-pick-fitting]")) return;
    count();
  });
  document.addEventListener("htmx:after:swap", count);

  // ---- What costs or removes is asked about in front of the list ----
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "bulk" || !event.submitter) return;
    if (!["transcribe", "index", "delete"].includes(event.submitter.value)) return;
    event.preventDefault();
    const sent = new URLSearchParams(new FormData(event.target, event.submitter));
    const answer = await fetch(event.target.getAttribute("action"), { method: "POST", body: sent, headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer?.ok) {
      const text = answer ? new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".toast-text")?.textContent : "";
      window.throughline.toast(text || "No answer from the server. Check your connection and try again.", "warn");
      return;
    }
    dialog.innerHTML = await answer.text();
    event.submitter.closest("details[data-menu]")?.removeAttribute("open");
    dialog.showModal();
  });

  // ---- An undo that is over is no longer offered ----
  const undo = document.querySelector("[data-undo]");
  if (undo) setTimeout(() => undo.remove(), UNDO_MS);

  count();
})();
