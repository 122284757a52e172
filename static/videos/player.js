// The transcript page: the cue being said is marked, a click on a word plays from it, "/" searches inside.
// Works on whatever transcript is in the page; a new one (fetched when the workflow has made it) is read anew.
(() => {
  "use strict";

  const STEP_SECONDS = 5;
  const PAUSE_FOLLOWING_MS = 4000; // after the reader has scrolled by hand
  const page = document.querySelector("[data-watch]");
  if (!page) return;
  const player = page.querySelector("[data-player]");

  let cues = []; // { element, text (node), start, end, words: [[offset, seconds]] }
  let current = -1;
  let matches = []; // { cue, range }
  let match = -1;
  let scrolledAt = 0;

  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);
  const list = () => page.querySelector("[data-cues]");
  const isEdited = () => "editing" in page.dataset;
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- Reading the transcript ----
  function read() {
    cues = [...page.querySelectorAll("[data-cues] > .cue")].map((element) => ({
      element,
      start: Number(element.dataset.s),
      end: Number(element.dataset.e),
    }));
    current = -1;
    show();
    search();
  }

  const textOf = (cue) => cue.element.querySelector(".cue-text > span").firstChild;

  function wordsOf(cue) {
    cue.words ??= cue.element.dataset.w.split(" ").filter(Boolean).map((pair) => {
      const [offset, hundredths] = pair.split(",").map(Number);
      return [offset, hundredths / 100];
    });
    return cue.words;
  }

  // ---- The cue being said ----
  function cueAt(seconds) {
    let low = 0;
    let high = cues.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (cues[middle].start <= seconds) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  function show() {
    if (!player || !cues.length) return;
    const now = player.currentTime + 0.05;
    const at = cueAt(now);
    const said = at >= 0 && now < cues[at].end + 1 ? at : -1;
    if (said === current) return;
    cues[current]?.element.removeAttribute("aria-current");
    current = said;
    if (said < 0) return;
    cues[said].element.setAttribute("aria-current", "true");
    const follows = page.querySelector("[data-follow]")?.checked;
    if (follows && !player.paused && Date.now() - scrolledAt > PAUSE_FOLLOWING_MS) reveal(cues[said].element);
  }

  // Scrolls the list only, never the page: on a phone the page itself is the reader's.
  function reveal(element) {
    const box = list();
    if (!box) return;
    if (box.scrollHeight <= box.clientHeight + 1) {
      const at = element.getBoundingClientRect();
      if (at.top < innerHeight * 0.3 || at.bottom > innerHeight * 0.9) element.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
      return;
    }
    const top = element.offsetTop - box.offsetTop - box.clientHeight / 3;
    box.scrollTo({ top, behavior: calm() ? "auto" : "smooth" });
  }

  function seek(seconds, plays) {
    if (!player) return;
    player.currentTime = Math.max(0, seconds);
    if (plays) player.play().catch(() => {}); // a browser may refuse to play before the first click
    show();
  }

  // ---- Click on a word ----
  function caret(x, y) {
    if (document.caretPositionFromPoint) {
      const found = document.caretPositionFromPoint(x, y);
      return found && { node: found.offsetNode, offset: found.offset };
    }
    const range = document.caretRangeFromPoint?.(x, y);
    return range && { node: range.startContainer, offset: range.startOffset };
  }

  function startOfWord(cue, offset) {
    let start = cue.start;
    for (const [from, seconds] of wordsOf(cue)) {
      if (from > offset) break;
      start = seconds;
    }
    return start;
  }

  // While it is edited, a click on the words opens their cue, which is the editor's.
  page.addEventListener("click", (event) => {
    const element = closest(event, ".cue");
    if (!element || (isEdited() && !closest(event, ".cue-time"))) return;
    if (closest(event, ".cue-time")) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens at that moment
      event.preventDefault();
    } else if (String(getSelection()).length) {
      return; // text is being selected, to copy it
    }
    const cue = cues.find((each) => each.element === element);
    if (!cue) return;
    const place = closest(event, ".cue-text") && caret(event.clientX, event.clientY);
    seek(place && place.node === textOf(cue) ? startOfWord(cue, place.offset) : cue.start, true);
  });

  // A chapter's link seeks; without the script it loads the page at that moment.
  page.addEventListener("click", (event) => {
    const link = closest(event, "a[data-seek]");
    if (!link || !player || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    seek(Number(link.dataset.seek), true);
  });

  // ---- Search inside ----
  const fold = (text) => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();

  // Offsets in the folded text belong to the written text only while both are equally long.
  function places(text, wanted) {
    const folded = fold(text);
    const source = folded.length === text.length ? folded : text.toLowerCase();
    const found = [];
    for (let at = source.indexOf(wanted); at >= 0; at = source.indexOf(wanted, at + wanted.length)) found.push(at);
    return found;
  }

  function find(wanted) {
    const found = [];
    for (const cue of cues) {
      const node = textOf(cue);
      const inCue = wanted.flatMap((text) => places(node.data, text).map((at) => [at, Math.min(node.data.length, at + text.length)]));
      for (const [start, end] of inCue.sort((one, other) => one[0] - other[0])) {
        const range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, end);
        found.push({ cue, range });
      }
    }
    return found;
  }

  // Whoever comes from a hit of the big search brings its words, which need not stand side by side: then each counts.
  function search() {
    const field = page.querySelector("[data-inside-search] input");
    const wanted = field ? fold(field.value.trim()) : "";
    const words = [...new Set(wanted.split(/[^\p{L}\p{N}]+/u).filter((word) => word.length > 3))];
    matches = wanted ? find([wanted]) : [];
    if (!matches.length && words.length) matches = find(words);
    match = -1;
    if (window.Highlight && CSS.highlights) {
      if (matches.length) CSS.highlights.set("inside", new Highlight(...matches.map((each) => each.range)));
      else CSS.highlights.delete("inside");
      CSS.highlights.delete("inside-current");
    }
    for (const cue of cues) cue.element.classList.toggle("has-match", false);
    for (const each of matches) each.cue.element.classList.add("has-match");
    count(wanted);
  }

  function count(wanted) {
    const box = page.querySelector("[data-inside-count]");
    if (!box) return;
    if (!wanted) box.textContent = "";
    else if (!matches.length) box.textContent = "Nothing found";
    else box.textContent = match < 0 ? `${matches.length} found` : `${match + 1} of ${matches.length}`;
  }

  function go(step) {
    if (!matches.length) return;
    match = match < 0 ? (step > 0 ? 0 : matches.length - 1) : (match + step + matches.length) % matches.length;
    const { cue, range } = matches[match];
    if (window.Highlight && CSS.highlights) CSS.highlights.set("inside-current", new Highlight(range));
    goTo(cue, range.startOffset);
    count(true);
  }

  function goTo(cue, offset) {
    scrolledAt = Date.now();
    reveal(cue.element);
    seek(startOfWord(cue, offset), false);
  }

  page.addEventListener("transcript:changed", (event) => {
    if (event.detail?.isText) for (const cue of cues) cue.words = undefined; // the rows are the same
    else read();
  });
  page.addEventListener("transcript:go", (event) => {
    const cue = cues.find((each) => each.element === event.detail.row);
    if (cue) goTo(cue, event.detail.from);
  });

  page.addEventListener("input", (event) => {
    if (closest(event, "[data-inside-search]")) search();
  });
  page.addEventListener("submit", (event) => {
    if (!closest(event, "[data-inside-search]")) return;
    event.preventDefault();
    go(1);
  });
  page.addEventListener("click", (event) => {
    const button = closest(event, "[data-inside]");
    if (button) go(Number(button.dataset.inside));
  });

  // ---- Keyboard ----
  document.addEventListener("keydown", (event) => {
    const field = closest(event, "[data-inside-search] input");
    if (field && event.key === "Escape") {
      field.value = "";
      search();
      field.blur();
      return;
    }
    if (field && event.key === "Enter" && event.shiftKey) {
      event.preventDefault();
      go(-1);
      return;
    }
    if (!player || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.defaultPrevented || closest(event, "input, textarea, select, button, summary, dialog, [contenteditable], video")) return;
    if (event.key === " ") {
      if (player.paused) player.play().catch(() => {});
      else player.pause();
    } else if (event.key === "ArrowLeft") seek(player.currentTime - STEP_SECONDS, false);
    else if (event.key === "ArrowRight") seek(player.currentTime + STEP_SECONDS, false);
    else if (event.key === "ArrowUp" && cues.length) seek(cues[Math.max(0, cueAt(player.currentTime + 0.05) - 1)].start, false);
    else if (event.key === "ArrowDown" && cues.length) seek(cues[Math.min(cues.length - 1, cueAt(player.currentTime + 0.05) + 1)].start, false);
    else return;
    event.preventDefault();
    if (event.key !== " " && current >= 0) reveal(cues[current].element);
  });

  // ---- A transcript that arrives while the page is open ----
  async function fetchTranscript(marker) {
    const shown = page.querySelector("#transcript");
    if (!shown || shown.dataset.transcript === marker.dataset.fetchTranscript || shown.dataset.fetching) return;
    // Who edits decides what becomes of the changes: the editor may hold the new transcript back.
    if (!page.dispatchEvent(new CustomEvent("transcript:offered", { cancelable: true, detail: marker.dataset }))) return;
    shown.dataset.fetching = "1";
    try {
      const answer = await fetch(marker.dataset.url, { headers: { "HX-Request": "true" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const arrived = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#transcript");
      const before = { top: list()?.scrollTop ?? 0, query: page.querySelector("[data-inside-search] input")?.value ?? "" };
      if (arrived) shown.replaceWith(document.adoptNode(arrived));
      for (const element of document.querySelectorAll("[data-with-transcript]")) element.hidden = false;
      const search = page.querySelector("[data-inside-search] input");
      if (search && before.query) search.value = before.query;
      read();
      if (list()) list().scrollTop = before.top; // a reader stays where they were
      page.dispatchEvent(new CustomEvent("transcript:arrived"));
    } catch {
      delete shown.dataset.fetching; // the next change of state tries again
    }
  }

  function look() {
    const marker = page.querySelector("[data-fetch-transcript]");
    if (marker) fetchTranscript(marker);
  }

  page.addEventListener("transcript:look", look);
  new MutationObserver(look).observe(page.querySelector(".watch-side"), { childList: true, subtree: true, attributes: true, attributeFilter: ["data-fetch-transcript"] });

  // ---- Start ----
  page.addEventListener("wheel", (event) => { if (closest(event, "[data-cues]")) scrolledAt = Date.now(); }, { passive: true });
  page.addEventListener("touchmove", (event) => { if (closest(event, "[data-cues]")) scrolledAt = Date.now(); }, { passive: true });
  const field = page.querySelector("[data-inside-search] input");
  if (field && page.dataset.query) field.value = page.dataset.query;
  read();
  look();
  const start = Number(page.dataset.start);
  if (player) {
    const giveUp = () => {
      player.closest(".watch-player").classList.add("watch-unplayable");
      player.controls = false; // what stays is the poster
    };
    player.addEventListener("error", giveUp);
    if (player.error) giveUp(); // it happened before this script ran
    player.addEventListener("timeupdate", show);
    player.addEventListener("seeked", show);
    const begin = () => {
      if (start > 0) player.currentTime = start;
      show();
      const box = list();
      if (current >= 0 && box && box.scrollHeight > box.clientHeight + 1) reveal(cues[current].element);
    };
    if (player.readyState > 0) begin();
    else player.addEventListener("loadedmetadata", begin, { once: true });
  }
})();
