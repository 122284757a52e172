// Words that the model was unsure of: shaded, said to screen readers once per cue, and gone through one by one.
// A row names them by their numbers (data-u); they are painted over the text, so a cue stays one piece of text.
(() => {
  "use strict";

  const page = document.querySelector("[data-watch]");
  if (!page) return;
  const KEPT = "throughline.unsure";
  const canPaint = Boolean(window.Highlight && CSS.highlights);
  let words = []; // { row, range }
  let at = -1;

  const bar = () => page.querySelector("[data-unsure-bar]");
  const isOn = () => Boolean(bar()?.querySelector("[data-unsure-toggle]").checked);
  const isWanted = () => { try { return localStorage.getItem(KEPT) !== "off"; } catch { return true; } };

  function find(row) {
    const node = row.querySelector(".cue-text > span").firstChild;
    if (!node) return [];
    const offsets = row.dataset.w.split(" ").filter(Boolean).map((pair) => Number(pair.split(",")[0]));
    return row.dataset.u.split(" ").map(Number).filter((number) => offsets[number] < node.length).map((number) => {
      const range = document.createRange();
      range.setStart(node, offsets[number]);
      range.setEnd(node, Math.min(node.length, offsets[number + 1] ?? node.length));
      while (range.endOffset > range.startOffset + 1 && /\s/.test(node.data[range.endOffset - 1])) range.setEnd(node, range.endOffset - 1);
      return { row, range };
    });
  }

  function read() {
    const box = bar();
    if (!box) return;
    words = [...page.querySelectorAll(".cue[data-u]")].flatMap(find);
    box.hidden = !words.length;
    at = -1;
    show();
  }

  function show() {
    const isShown = isOn() && words.length > 0;
    page.classList.toggle("shows-unsure", isShown);
    if (canPaint) {
      CSS.highlights.delete("unsure-current");
      if (isShown) CSS.highlights.set("unsure", new Highlight(...words.map((each) => each.range)));
      else CSS.highlights.delete("unsure");
    }
    for (const old of page.querySelectorAll(".cue-unsure")) old.remove();
    if (isShown) tell();
    say();
  }

  // Eyes see which words are shaded; who listens hears them once at the end of their cue.
  function tell() {
    const byRow = new Map();
    for (const { row, range } of words) byRow.set(row, [...(byRow.get(row) ?? []), String(range)]);
    for (const [row, texts] of byRow) {
      const note = document.createElement("span");
      note.className = "cue-unsure visually-hidden";
      note.textContent = ` (unsure of: ${texts.join(", ")})`;
      row.querySelector(".cue-text").append(note);
    }
  }

  function say() {
    const box = bar()?.querySelector("[data-unsure-count]");
    if (box) box.textContent = at < 0 ? `${words.length}` : `${at + 1} of ${words.length}: ${String(words[at].range)}`;
  }

  function go(step) {
    if (!words.length) return;
    const box = bar();
    if (!isOn()) {
      box.querySelector("[data-unsure-toggle]").checked = true;
      show();
    }
    at = at < 0 ? nearest(step) : (at + step + words.length) % words.length;
    const { row, range } = words[at];
    if (canPaint) CSS.highlights.set("unsure-current", new Highlight(range));
    say();
    // The player goes there, and where the transcript is edited its cue opens with the word selected.
    page.dispatchEvent(new CustomEvent("transcript:go", { detail: { row, from: range.startOffset, to: range.endOffset } }));
  }

  // The first one begins at the moment of the player.
  function nearest(step) {
    const player = page.querySelector("[data-player]");
    const now = player?.currentTime ?? 0;
    const found = now > 0 ? words.findIndex(({ row }) => Number(row.dataset.e) > now) : 0;
    if (step > 0) return Math.max(0, found);
    return found > 0 ? found - 1 : words.length - 1;
  }

  page.addEventListener("change", (event) => {
    if (!event.target.matches("[data-unsure-toggle]")) return;
    try { localStorage.setItem(KEPT, event.target.checked ? "on" : "off"); } catch { /* a private window: not kept */ }
    show();
  });
  page.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-unsure]");
    if (button) go(Number(button.dataset.unsure));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "n" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    event.preventDefault();
    go(event.shiftKey ? -1 : 1);
  });

  function start() {
    const toggle = bar()?.querySelector("[data-unsure-toggle]");
    if (toggle) toggle.checked = isWanted();
    read();
  }

  page.addEventListener("transcript:changed", read);
  page.addEventListener("transcript:arrived", start);
  start();
})();
