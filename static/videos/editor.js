// The editor of the transcript in the page: edit mode, its keys and its bar. A row is opened to be edited (CueForm), what
// is done is a History of operations, and save, draft and conflict are those of editor-save.js.
(() => {
  "use strict";

  const { CueForm, Draft, History, List, Sound, conflict, forget, listenToDialogs, offer, openReplace, openSpeakers, resume, save, settle, speakers } = window.transcriptEditor;
  const page = document.querySelector("[data-watch]");
  const template = document.getElementById("cue-form");
  if (!page || !template) return;
  const ALONG = "throughline.edit-along";

  class Editor {
    constructor() {
      this.video = page.dataset.video;
      this.flags = JSON.parse(template.dataset.flags);
      this.seconds = Number(page.dataset.seconds) || 0;
      this.sound = new Sound(page.querySelector("[data-player]"));
      this.form = null;
      this.isOn = false;
    }

    get section() { return page.querySelector("#transcript"); }

    part(name) { return this.section.querySelector(`[data-${name}]`); }

    get hasChanges() { return Boolean(this.history?.done.length); }

    // ---- Edit mode ----
    begin(cues) {
      this.history = new History(cues);
      this.draft = new Draft(this.video, this.section.dataset.transcript, Number(this.section.dataset.number));
      this.showBar();
    }

    read() {
      this.list = new List(this.part("cues"));
      this.begin(this.list.read());
    }

    start({ focuses = true } = {}) {
      if (this.isOn || !this.part("cues")) return;
      this.isOn = true;
      page.dataset.editing = "";
      if (!this.list || this.list.box !== this.part("cues")) this.read();
      this.list.at = Math.max(0, this.list.rows.findIndex((row) => row.hasAttribute("aria-current")));
      this.list.edit(true);
      this.showMode();
      if (focuses) this.list.focus(this.list.at);
      this.say("Editing. Enter opens a cue.");
      if (!this.hasChanges) offer(this);
    }

    stop() {
      this.close();
      this.sound.stop();
      this.isOn = false;
      delete page.dataset.editing;
      this.list.edit(false);
      this.showMode();
      page.dispatchEvent(new Event("transcript:look")); // what came meanwhile is shown now, unless there are changes
      this.part("edit").focus();
    }

    showMode() {
      this.part("edit-tools").hidden = !this.isOn;
      const button = this.part("edit");
      button.querySelector("span").textContent = this.isOn ? "Done" : "Edit";
      button.classList.toggle("btn-primary", this.isOn);
      button.classList.toggle("btn-secondary", !this.isOn);
      const along = this.part("edit-along");
      try { along.checked = localStorage.getItem(ALONG) === "on"; } catch { /* not kept */ }
      this.showBar();
    }

    // ---- Changes ----
    do(...ops) {
      const patches = this.history.do(...ops);
      this.list.show(patches);
      this.changed(patches);
    }

    back(verb) {
      const at = this.form?.at;
      this.close();
      const patches = this.history[verb]();
      if (!patches) {
        this.say(verb === "undo" ? "Nothing to undo." : "Nothing to redo.");
        return;
      }
      this.list.show(patches);
      this.changed(patches);
      this.list.focus(Math.min(patches[0]?.at ?? at ?? 0, this.history.cues.length - 1));
      this.say(verb === "undo" ? "Undone." : "Done again.");
    }

    // What reads the rows besides (search, shading, the cue being said) reads them anew where rows came or went.
    changed(patches = null) {
      const isText = patches?.every(({ removed, added }) => removed.length === 1 && added.length === 1) ?? false;
      clearTimeout(this.later);
      const tell = () => page.dispatchEvent(new CustomEvent("transcript:changed", { detail: { isText } }));
      if (isText && this.form) {
        tell();
        this.isStale = true; // read when the cue is closed: not at every key
      } else page.dispatchEvent(new CustomEvent("transcript:changed", { detail: {} }));
      this.draft.keep(this.history.ops);
      this.showBar();
    }

    showBar() {
      const bar = this.part("edit-bar");
      if (!bar) return;
      const changes = this.history?.done.length ?? 0;
      bar.hidden = !changes;
      this.part("edit-count").textContent = `${changes} ${changes === 1 ? "change" : "changes"}`;
      this.part("edit-state").textContent = this.draft?.isKept === false ? "this browser cannot keep them: save soon" : "kept in this browser until you save";
      for (const [name, list] of [["undo", "done"], ["redo", "undone"]]) {
        const button = this.section.querySelector(`[data-edit-do="${name}"]`);
        button.setAttribute("aria-disabled", String(!this.history?.[list].length));
      }
      document.getElementById("cue-speakers").replaceChildren(...(this.history && this.isOn ? speakers(this.history.cues) : []).map((name) => Object.assign(document.createElement("option"), { value: name })));
    }

    note() { return this.part("edit-note").value.trim(); }

    busy(isSaving) {
      this.isSaving = isSaving;
      const button = this.section.querySelector('[data-edit-do="save"]');
      button.disabled = isSaving;
      button.querySelector("span").textContent = isSaving ? "Saving" : "Save";
      if (isSaving) return;
      if (!this.hasChanges) this.part("edit-note").value = "";
      page.dispatchEvent(new Event("transcript:look")); // what was offered while it was saved may be ours, or newer
    }

    discard() {
      document.getElementById("editor-discard").close();
      this.close();
      const { base, cues } = this.history;
      this.draft.forget();
      this.list.showAll(cues, base);
      this.begin(base);
      page.dispatchEvent(new CustomEvent("transcript:changed", { detail: {} }));
      this.say("Your changes were discarded.");
      page.dispatchEvent(new Event("transcript:look"));
    }

    // ---- The open cue ----
    open(at, { caret, until, plays = false } = {}) {
      if (at < 0 || at >= this.history.cues.length) {
        this.close({ focuses: true });
        return;
      }
      this.close();
      this.form = new CueForm(this, at);
      this.list.reach(at);
      this.list.reveal(at);
      this.form.focus(caret, until ?? caret);
      if (plays && this.part("edit-along").checked) this.sound.play(this.form.cue);
    }

    close({ focuses = false } = {}) {
      const { form } = this;
      if (!form) return;
      this.form = null;
      const isEmpty = this.history.cues[form.at] && form.text.value.trim() === "" && this.list.rows[form.at] === form.row;
      form.close();
      if (isEmpty) form.removeIfEmpty();
      if (this.isStale) page.dispatchEvent(new CustomEvent("transcript:changed", { detail: {} }));
      this.isStale = false;
      if (focuses) this.list.focus(Math.min(form.at, this.history.cues.length - 1));
    }

    // ---- Words to the person ----
    say(text) { document.querySelector("[data-edit-said]").textContent = text; }

    toast(text, tone) { window.throughline.toast(text, tone); }

    news(text) {
      const box = this.part("edit-news");
      box.hidden = !text;
      this.part("edit-news-text").textContent = text ?? "";
    }
  }

  const editor = new Editor();
  listenToDialogs(editor);

  const verbs = {
    undo: () => editor.back("undo"),
    redo: () => editor.back("redo"),
    replace: () => openReplace(editor),
    speakers: () => openSpeakers(editor),
    save: () => save(editor),
    discard: () => editor.discard(),
    resume: () => resume(editor),
    forget: () => forget(editor),
    news: () => conflict(editor).catch(() => editor.toast("No answer from the server. Try again in a moment.", "bad")),
  };

  // ---- Pointer ----
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const toggle = event.target.closest("[data-edit]");
    if (toggle && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (editor.isOn) editor.stop();
      else editor.start();
      return;
    }
    const button = event.target.closest("[data-edit-do]");
    if (button && button.getAttribute("aria-disabled") !== "true") verbs[button.dataset.editDo]();
    const choice = event.target.closest("[data-conflict]");
    if (choice) settle(editor, choice.dataset.conflict);
    const row = editor.isOn && event.target.closest("[data-cues] > .cue");
    if (!row || event.target.closest(".cue-time, .cue-form") || String(getSelection()).length) return;
    const place = caretAt(event, row);
    editor.open(editor.list.indexOf(row), { caret: place, plays: true });
  });

  function caretAt(event, row) {
    const node = row.querySelector(".cue-text > span").firstChild;
    const found = document.caretPositionFromPoint?.(event.clientX, event.clientY);
    const range = found ? null : document.caretRangeFromPoint?.(event.clientX, event.clientY);
    const [where, offset] = found ? [found.offsetNode, found.offset] : [range?.startContainer, range?.startOffset];
    return where === node && event.detail ? offset : undefined;
  }

  page.addEventListener("change", (event) => {
    if (!event.target.matches("[data-edit-along]")) return;
    try { localStorage.setItem(ALONG, event.target.checked ? "on" : "off"); } catch { /* not kept */ }
  });

  // ---- Keys ----
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || !(event.target instanceof Element) || event.target.closest("dialog[open]")) return;
    const isField = Boolean(event.target.closest("input, textarea, select, [contenteditable]"));
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    let verb = null;
    if (isCommand && key === "s" && !event.shiftKey && (editor.isOn || editor.hasChanges)) verb = verbs.save;
    else if (editor.isOn && isCommand && key === "z" && !isField) verb = event.shiftKey ? verbs.redo : verbs.undo;
    else if (editor.isOn && isCommand && key === "y" && !isField) verb = verbs.redo;
    else if (!isField && !isCommand && !event.altKey && key === "e") verb = () => (editor.isOn ? editor.stop() : editor.start());
    else if (editor.isOn && event.target.matches(".cue-text") && !isCommand && !event.altKey) verb = onRow(event);
    if (!verb) return;
    event.preventDefault();
    verb();
  }, true);

  function onRow(event) {
    const at = editor.list.indexOf(event.target.closest(".cue"));
    const last = editor.list.rows.length - 1;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: last }[event.key];
    if (to !== undefined) return () => editor.list.focus(Math.min(last, Math.max(0, to)));
    return event.key === "Enter" ? () => editor.open(at, { plays: true }) : null;
  }

  // ---- What happens elsewhere ----
  page.addEventListener("transcript:go", (event) => {
    if (!editor.isOn) return;
    const at = editor.list.indexOf(event.detail.row);
    if (at >= 0) editor.open(at, { caret: event.detail.from, until: event.detail.to, plays: true });
  });
  page.addEventListener("transcript:offered", (event) => {
    if (!editor.hasChanges && !editor.isSaving && !editor.form) return; // nothing to lose: it is shown
    event.preventDefault();
    if (editor.isSaving) return;
    editor.news("A newer version is there: another tab, another program or a new transcription made it. Your changes are kept.");
  });
  page.addEventListener("transcript:arrived", () => {
    editor.list = null;
    editor.history = null;
    if (!editor.isOn) return;
    editor.isOn = false;
    delete page.dataset.editing;
    editor.form = null;
    editor.start({ focuses: false });
    editor.say("A newer version is shown.");
  });
  addEventListener("pagehide", () => editor.draft?.write());
  document.addEventListener("visibilitychange", () => editor.draft?.write());
  addEventListener("beforeunload", (event) => { if (editor.hasChanges) event.preventDefault(); });

  // A draft of an earlier visit is offered at once, not only when somebody edits again.
  if (editor.section?.dataset.transcript && Draft.all(editor.video).length) editor.start({ focuses: false });
})();
