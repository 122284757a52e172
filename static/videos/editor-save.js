// Changes on their way: kept in this browser, saved as a new version, and brought onto a version that came meanwhile.
(() => {
  "use strict";

  const { History, clock, cueOf, fromAnswer, hunks, rebase } = window.transcriptEditor;
  const PREFIX = "throughline.draft.";
  const DRAFT_DAYS = 30;
  const KEEP_AFTER_MS = 300;
  const MOST_OPERATIONS = 5000;

  // ---- Draft: { video, number, at, ops }, one for each transcript ----
  class Draft {
    constructor(video, transcript, number) {
      Object.assign(this, { video, transcript, number });
    }

    static all(video) {
      const found = [];
      try {
        for (let at = localStorage.length - 1; at >= 0; at -= 1) {
          const name = localStorage.key(at);
          if (!name.startsWith(PREFIX)) continue;
          const draft = JSON.parse(localStorage.getItem(name));
          if (Date.now() - draft.at > DRAFT_DAYS * 86400000) localStorage.removeItem(name);
          else if (draft.video === video && draft.ops?.length) found.push({ ...draft, transcript: name.slice(PREFIX.length) });
        }
      } catch { /* storage is closed to this page: there are no drafts */ }
      return found.sort((one, other) => other.at - one.at);
    }

    static forget(transcript) {
      try { localStorage.removeItem(PREFIX + transcript); } catch { /* there was none */ }
    }

    // Writes a moment after the last key; at once where the page may go.
    keep(ops, isUrgent = false) {
      this.ops = ops;
      clearTimeout(this.timer);
      if (isUrgent) this.write();
      else this.timer = setTimeout(() => this.write(), KEEP_AFTER_MS);
    }

    write() {
      clearTimeout(this.timer);
      if (!this.ops) return;
      if (!this.ops.length) Draft.forget(this.transcript);
      else {
        try {
          localStorage.setItem(PREFIX + this.transcript, JSON.stringify({ video: this.video, number: this.number, at: Date.now(), ops: this.ops }));
          this.isKept = true;
        } catch {
          this.isKept = false;
        }
      }
      this.ops = null;
    }

    forget() {
      clearTimeout(this.timer);
      this.ops = null;
      Draft.forget(this.transcript);
    }
  }

  // ---- Requests ----
  const address = (editor, rest = "") => `/videos/${editor.video}/transcript${rest}`;
  const token = () => document.querySelector("input[name=csrf_token]").value;

  async function post(editor, body) {
    const answer = await fetch(address(editor), {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "X-CSRFToken": token(), "Content-Type": "application/json", Accept: "application/json" },
    });
    const isJson = answer.headers.get("Content-Type")?.includes("json");
    if (!isJson && answer.redirected) throw new Error("You were signed out. Sign in again in another tab, then save; your changes are kept here.");
    return { status: answer.status, given: isJson ? await answer.json() : {} };
  }

  async function fetchShown(editor) {
    const answer = await fetch(address(editor), { headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#transcript");
  }

  const cuesOf = (section) => [...section.querySelectorAll("[data-cues] > .cue")].map(cueOf);

  async function save(editor) {
    const { history } = editor;
    const ops = history.ops;
    if (!ops.length || editor.isSaving) return;
    if (ops.length > MOST_OPERATIONS) {
      editor.toast(`These are ${ops.length} changes; ${MOST_OPERATIONS} can be saved at once. Undo some, save, and go on.`, "bad");
      return;
    }
    editor.busy(true);
    try {
      const note = editor.note();
      const { status, given } = await post(editor, { base: editor.draft.transcript, operations: ops, ...(note ? { note } : {}) });
      if (status === 200) saved(editor, given);
      else if (status === 409 && given.current) await conflict(editor);
      else editor.toast(given.message || "This could not be saved just now. Your changes are kept here; try again in a moment.", "bad");
    } catch (error) {
      editor.toast(error instanceof TypeError ? "No answer from the server. Your changes are kept here; save again when the connection is back." : error.message, "bad");
    } finally {
      editor.busy(false);
    }
  }

  // The server's cues take the place of ours, row by row: scroll, playback and the open cue stay.
  function saved(editor, given) {
    const { section } = editor;
    const cues = given.cues.map((cue) => fromAnswer(cue, editor.flags, Number(section.dataset.unsureBelow)));
    editor.draft.forget();
    section.dataset.transcript = given.transcript_id;
    section.dataset.number = given.number;
    editor.list.showAll(editor.history.cues, cues);
    editor.begin(cues);
    editor.changed();
    editor.say(`Saved as version ${given.number}.`);
    editor.toast(`Saved as version ${given.number}.`, "ok");
  }

  // ---- Somebody else was faster ----
  async function conflict(editor) {
    const shown = await fetchShown(editor);
    const cues = cuesOf(shown);
    const found = hunks(editor.history.base, editor.history.cues);
    const plan = rebase(found, cues);
    editor.conflict = { shown, cues, found, ...plan };
    const dialog = document.getElementById("editor-conflict");
    const all = found.length;
    const stretches = (number) => `${number} ${number === 1 ? "place" : "places"}`;
    const fits = plan.left.length === 0 ? "All of them can be brought onto it." : `${stretches(all - plan.left.length)} can be brought onto it; ${stretches(plan.left.length)} cannot, because other words stand there now. Copy these before you go on:`;
    dialog.querySelector("[data-conflict-words]").textContent =
      `Version ${shown.dataset.number} is shown by now: another tab, another program or a new transcription made it after version ${editor.draft.number}, which you edited. Your changes (${stretches(all)}) are kept in this browser. ${fits}`;
    list(dialog, plan.left);
    dialog.querySelector("[data-conflict-diff]").href = `/videos/${editor.video}/versions/compare?from=${editor.draft.number}&to=${shown.dataset.number}`;
    dialog.querySelector('[data-conflict="apply"]').disabled = plan.left.length === all && all > 0;
    if (!dialog.open) dialog.showModal();
  }

  const words = ({ before, after }) => {
    const text = (cues) => cues.map((cue) => (cue.speaker ? `${cue.speaker}: ${cue.text}` : cue.text)).join(" / ");
    const at = (before[0] ?? after[0]).start;
    return `${clock(at)}  ${text(before) || "(nothing)"}  →  ${text(after) || "(deleted)"}`;
  };

  function list(dialog, left) {
    dialog.querySelector("[data-conflict-left]").replaceChildren(...left.map((hunk) => {
      const item = document.createElement("li");
      item.textContent = words(hunk);
      return item;
    }));
  }

  function settle(editor, verb) {
    const dialog = document.getElementById("editor-conflict");
    const { shown, cues, ops, left, found } = editor.conflict;
    if (verb === "copy") {
      navigator.clipboard?.writeText(found.map(words).join("\n")).then(() => editor.toast("Copied.", "ok"), () => editor.toast("Your browser did not allow copying.", "warn"));
      return;
    }
    dialog.close();
    // What did not fit stays in its draft, until it is discarded there or thirty days have passed.
    if (verb === "discard" || !left.length) editor.draft.forget();
    else editor.draft.write();
    editor.close();
    editor.list.showAll(editor.history.cues, cues);
    editor.section.dataset.transcript = shown.dataset.transcript;
    editor.section.dataset.number = shown.dataset.number;
    editor.section.dataset.unsureBelow = shown.dataset.unsureBelow;
    editor.begin(cues);
    editor.changed();
    if (verb === "apply") for (const op of ops) editor.do(op);
    editor.news(null);
    editor.say(verb === "apply" ? "Your changes stand on the new version now. Look at them, then save." : "The new version is shown.");
    if (verb === "apply") editor.toast("Your changes stand on the new version now. Look at them, then save.", "info");
  }

  // ---- A draft of an earlier visit ----
  function offer(editor) {
    const [draft] = Draft.all(editor.video);
    if (!draft) return;
    const dialog = document.getElementById("editor-draft");
    const changes = `${draft.ops.length} ${draft.ops.length === 1 ? "change" : "changes"}`;
    const isSame = draft.transcript === editor.draft.transcript;
    const older = isSame ? "" : ` Version ${editor.section.dataset.number} is shown by now; what fits it is applied, and you see what does not.`;
    dialog.querySelector("[data-draft-words]").textContent = `This browser keeps ${changes} to version ${draft.number} that were not saved (${window.throughline.ago(new Date(draft.at), new Date())}).${older}`;
    editor.offered = draft;
    if (!dialog.open) dialog.showModal();
  }

  async function resume(editor) {
    const draft = editor.offered;
    document.getElementById("editor-draft").close();
    editor.list.focus(editor.list.at);
    if (draft.transcript === editor.draft.transcript) {
      replay(editor, draft.ops);
      return;
    }
    // Its own version is fetched, so that the changes are seen against the words that they were made to.
    try {
      const answer = await fetch(`/videos/${editor.video}/versions/${draft.number}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const old = new DOMParser().parseFromString(await answer.text(), "text/html");
      const history = new History(cuesOf(old));
      for (const op of draft.ops) history.do(op);
      editor.list.showAll(editor.history.cues, history.base);
      Object.assign(editor, { history, draft: new Draft(editor.video, draft.transcript, draft.number) });
      editor.list.showAll(history.base, history.cues);
      await conflict(editor);
    } catch {
      editor.toast("The version that these changes were made to is gone, so they cannot be taken up again.", "bad");
      Draft.forget(draft.transcript);
    }
  }

  function replay(editor, ops) {
    try {
      for (const op of ops) editor.do(op);
      editor.say("Your changes are here again.");
    } catch {
      editor.toast("Some of the kept changes do not fit this version; the others are here again.", "warn");
    }
  }

  function forget(editor) {
    Draft.forget(editor.offered.transcript);
    document.getElementById("editor-draft").close();
    editor.list.focus(editor.list.at);
  }

  Object.assign(window.transcriptEditor, { Draft, conflict, forget, offer, resume, save, settle });
})();
