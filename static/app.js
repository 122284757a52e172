// What the pages share: menus, dialogs, toasts, theme, times that stay true, and the sign that live updates stopped.
// No framework, no inline code; everything works on the document, so fragments that arrive later need no set-up.
(() => {
  "use strict";

  const SECOND = 1000;
  const TOAST_SECONDS = 6;
  const OFFLINE_AFTER_MS = 1500;

  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

  // ---- Toasts ----
  const icons = { ok: "circle-check", warn: "alert-triangle", bad: "alert-circle", info: "info-circle" };

  function sprite() {
    const use = document.querySelector("svg.icon use");
    return use ? use.getAttribute("href").split("#")[0] : "";
  }

  function glyph(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${sprite()}#${name}`);
    svg.append(use);
    return svg;
  }

  function toast(message, tone = "info") {
    const region = document.getElementById("toasts");
    if (!region || !message) return;
    const known = tone in icons ? tone : "info";
    const box = document.createElement("div");
    box.className = `toast toast-${known}`;
    box.dataset.toast = "";
    const text = document.createElement("p");
    text.className = "toast-text";
    text.textContent = message;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn btn-quiet btn-icon btn-sm";
    close.dataset.closeToast = "";
    close.setAttribute("aria-label", "Close");
    close.append(glyph("x"));
    box.append(glyph(icons[known]), text, close);
    region.append(box);
  }

  // Bad news waits until it is closed; the rest leaves by itself, but not under the pointer or the focus.
  function expire(box) {
    if (box.dataset.timed || box.classList.contains("toast-bad")) return;
    box.dataset.timed = "1";
    const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, SECOND) : box.remove());
    setTimeout(leave, TOAST_SECONDS * SECOND);
  }

  // ---- Menus: <details> that also close on Escape, on a click elsewhere, and move by arrow keys ----
  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) if (menu !== except) menu.open = false;
  }

  function moveInMenu(menu, step) {
    const items = [...menu.querySelectorAll(".menu-item, .theme button")];
    if (!items.length) return;
    const at = items.indexOf(document.activeElement);
    items[(at + step + items.length) % items.length].focus();
  }

  // ---- Theme ----
  function setTheme(value) {
    const root = document.documentElement;
    if (value) root.dataset.theme = value;
    else delete root.dataset.theme;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${value}; path=/; max-age=${value ? 31536000 : 0}; samesite=lax${secure}`;
    for (const button of document.querySelectorAll("[data-theme-switch] button")) {
      button.setAttribute("aria-pressed", String(button.value === value));
    }
  }

  // ---- Times: the same words as app/lib/text.py ----
  function ago(then, now) {
    const seconds = (now - then) / SECOND;
    const far = Math.abs(seconds);
    if (far < 45) return seconds < -5 ? "in a moment" : "just now";
    if (far < 86400) {
      const amount = far < 3600 ? `${Math.max(1, Math.floor(far / 60))} min` : `${Math.floor(far / 3600)} h`;
      return seconds > 0 ? `${amount} ago` : `in ${amount}`;
    }
    if (seconds > 0 && far < 2 * 86400) return "yesterday";
    if (seconds > 0 && far < 7 * 86400) return `${Math.floor(far / 86400)} days ago`;
    return then.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  }

  function renewTimes() {
    const now = new Date();
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const then = new Date(element.dateTime);
      if (Number.isNaN(then.getTime())) continue;
      const text = ago(then, now);
      if (element.textContent !== text) element.textContent = text;
      element.title = then.toLocaleString();
    }
  }

  // ---- Durations that go on, and times that come near: counted from what the server said, whatever this clock says ----
  const counted = new WeakMap();

  function exact(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }

  function count() {
    for (const element of document.querySelectorAll("time[data-since], time[data-until]")) {
      const said = element.dataset.since ?? element.dataset.until;
      let known = counted.get(element);
      if (known?.said !== said) counted.set(element, known = { said, at: Date.now() });
      const passed = (Date.now() - known.at) / SECOND;
      const left = Number(said) - passed;
      const text = "since" in element.dataset ? exact(Number(said) + passed) : left < 1 ? "now" : `in ${exact(left)}`;
      if (element.textContent !== text) element.textContent = text;
    }
  }

  // ---- Live updates: say it when the socket is away for longer than a blink ----
  let offlineTimer;
  function live(isConnected) {
    const sign = document.getElementById("live-state");
    if (!sign) return;
    clearTimeout(offlineTimer);
    if (isConnected) sign.hidden = true;
    else offlineTimer = setTimeout(() => { sign.hidden = false; }, OFFLINE_AFTER_MS);
  }

  // ---- Events ----
  document.addEventListener("click", (event) => {
    const opener = closest(event, "[data-open]");
    const dialog = opener && document.getElementById(opener.dataset.open);
    if (dialog && !dialog.open) {
      const menu = opener.closest("details[data-menu]");
      closeMenus();
      menu?.querySelector("summary").focus(); // where the focus returns to: its item is gone with the menu
      dialog.showModal();
      event.preventDefault(); // else the button's own command opens it a second time
    }
    const closer = closest(event, "[data-close]");
    if (closer) {
      closer.closest("dialog")?.close();
      event.preventDefault();
    }
    if (event.target instanceof HTMLDialogElement && event.target.classList.contains("dialog")) event.target.close();
    closest(event, "[data-close-toast]")?.closest("[data-toast]")?.remove();
    const themeButton = closest(event, "[data-theme-switch] button");
    if (themeButton) setTheme(themeButton.value);
    const copy = closest(event, "[data-copy]");
    if (copy) {
      // In front of a dialog no toast can be seen: there its own line says it.
      const line = copy.closest("dialog")?.querySelector("[data-copied]");
      const say = (words, tone) => (line ? (line.textContent = words) : toast(words, tone));
      const refused = () => say("Your browser did not allow copying. Select the text and copy it.", "warn");
      if (navigator.clipboard) navigator.clipboard.writeText(copy.dataset.copy).then(() => say("Copied.", "ok"), refused);
      else refused();
    }
    closeMenus(closest(event, "details[data-menu]"));
  });

  document.addEventListener("focusin", (event) => closest(event, "[data-select]")?.select());

  document.addEventListener("keydown", (event) => {
    const menu = closest(event, "details[data-menu][open]");
    if (event.key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (menu && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      moveInMenu(menu, event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !closest(event, "input, textarea, select, [contenteditable]")) {
      const field = document.querySelector('input[data-focus-key="/"]');
      const link = document.querySelector('a[data-focus-key="/"]');
      if (!field && !link) return;
      event.preventDefault();
      if (field) {
        field.focus();
        field.select();
      } else link.click();
    }
  });

  // An HX-Trigger header {"toast": {"message": ..., "tone": ...}} arrives as an event of that name.
  document.addEventListener("toast", (event) => toast(event.detail?.message, event.detail?.tone));
  document.addEventListener("htmx:error", () => toast("No answer from the server. Check your connection and try again.", "bad"));
  document.addEventListener("htmx:ws:after:connection", () => live(true));
  document.addEventListener("htmx:ws:close", (event) => {
    if (document.visibilityState === "visible" && event.detail?.reason !== "removed") live(false);
  });

  function start() {
    const region = document.getElementById("toasts");
    if (region) {
      region.querySelectorAll("[data-toast]").forEach(expire);
      new MutationObserver((changes) => {
        for (const change of changes) for (const node of change.addedNodes) if (node instanceof Element && node.matches("[data-toast]")) expire(node);
      }).observe(region, { childList: true });
    }
    renewTimes();
    setInterval(renewTimes, 30 * SECOND);
    document.addEventListener("htmx:after:swap", renewTimes);
    count();
    setInterval(count, SECOND);
    document.addEventListener("htmx:after:swap", count);
    for (const dialog of document.querySelectorAll("dialog[open]")) {
      dialog.close(); // the server opened it, which no server can do in front of the page
      dialog.showModal();
    }
  }

  start();
  window.throughline = { toast, ago };
})();
