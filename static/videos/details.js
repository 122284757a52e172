// The details of a video in a dialog: a link with data-details opens the form that its page would show.
(() => {
  "use strict";

  const dialog = document.getElementById("details-dialog");
  const body = dialog?.querySelector("[data-details-body]");
  if (!body) return;

  document.addEventListener("click", async (event) => {
    const link = event.target instanceof Element && event.target.closest("a[data-details]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer?.ok) {
      location.assign(link.href); // its page says what is wrong
      return;
    }
    body.innerHTML = await answer.text();
    link.closest("details[data-menu]")?.querySelector("summary").focus();
    dialog.showModal();
    body.querySelector("[name=title]").select();
  });

  body.addEventListener("click", (event) => {
    if (!event.target.closest("[data-not-now]")) return;
    event.preventDefault();
    dialog.close();
  });

  body.addEventListener("submit", async (event) => {
    event.preventDefault();
    const sent = new URLSearchParams(new FormData(event.target));
    const answer = await fetch(event.target.getAttribute("action"), { method: "POST", body: sent, headers: { "HX-Request": "true" } }).catch(() => null);
    if (answer?.status === 204) {
      dialog.close();
      if (document.getElementById("library")) {
        window.throughline.toast("Saved.", "ok");
        document.dispatchEvent(new Event("videos:added")); // tags and their counts, too
      } else location.reload();
    } else if (answer?.status === 422) {
      body.innerHTML = await answer.text();
      body.querySelector("[aria-invalid]")?.focus();
    } else window.throughline.toast("This was not saved. Check your connection and try again.", "bad");
  });
})();
