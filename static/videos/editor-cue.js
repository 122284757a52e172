// One cue being edited in its row: text, speaker, times, and what can be done with it. Whatever is typed becomes an
// operation at once, so that nothing is lost; Escape takes back what was done since the cue was opened.
(() => {
  "use strict";

  const { clock, tidy, wordsBefore } = window.transcriptEditor;
  const FEWEST_SECONDS = 0.1;
  const CAPTION_CHARACTERS = 84;
  const CAPTION_SECONDS = 5.5;
  const NEW_SECONDS = 1;
  const round = (seconds) => Math.round(seconds * 1000) / 1000;

  const written = (seconds) => `${clock(seconds)}.${String(Math.round((seconds % 1) * 100) % 100).padStart(2, "0")}`;

  // "1:02.5", "62.5" or "1:02:03.4" in seconds; NaN for anything else.
  function seconds(text) {
    const parts = text.trim().replace(",", ".").split(":");
    if (parts.length > 3 || !parts.every((part, at) => (at === parts.length - 1 ? /^\d+(\.\d*)?$/ : /^\d+$/).test(part))) return NaN;
    return round(parts.reduce((sum, part) => sum * 60 + Number(part), 0));
  }

  class CueForm {
    constructor(editor, at) {
      this.editor = editor;
      this.at = at;
      this.opened = editor.history.cues[at];
      this.row = editor.list.rows[at];
      this.form = document.getElementById("cue-form").content.firstElementChild.cloneNode(true);
      this.text = this.form.querySelector("[data-text]");
      this.speaker = this.form.querySelector("[data-speaker]");
      this.fill();
      this.row.append(this.form);
      this.row.classList.add("is-open");
      this.form.addEventListener("input", (event) => this.typed(event));
      this.form.addEventListener("change", (event) => this.changed(event));
      this.form.addEventListener("click", (event) => this.clicked(event));
      this.form.addEventListener("keydown", (event) => this.pressed(event));
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.next(1);
      });
    }

    get cue() { return this.editor.history.cues[this.at]; }

    fill() {
      const { text, speaker, start, end } = this.cue;
      if (tidy(this.text.value) !== text) this.text.value = text;
      this.speaker.value = speaker;
      this.time("start").value = written(start);
      this.time("end").value = written(end);
      this.refuse("");
      this.hint();
    }

    time(name) { return this.form.querySelector(`[data-time="${name}"]`); }

    focus(from = this.text.value.length, to = from) {
      this.text.focus({ preventScroll: true });
      this.text.setSelectionRange(from, to);
    }

    refuse(sentence) {
      const box = this.form.querySelector("[data-cue-error]");
      box.hidden = !sentence;
      box.textContent = sentence;
    }

    hint() {
      const { start, end } = this.cue;
      const length = this.text.value.length;
      const box = this.form.querySelector("[data-cue-hint]");
      const isLong = length > CAPTION_CHARACTERS || end - start > CAPTION_SECONDS + 0.001;
      box.hidden = !isLong;
      box.textContent = isLong ? `${length} characters, ${(end - start).toFixed(1)} s: longer than a caption of two lines should be. Split it.` : "";
      this.text.rows = Math.min(8, Math.max(2, Math.ceil(length / 44)));
    }

    // ---- What is typed ----
    typed(event) {
      if (event.target !== this.text) return;
      const text = tidy(this.text.value);
      this.hint();
      if (text && text !== this.cue.text) this.editor.do({ op: "text", cue: this.at, text });
    }

    changed(event) {
      if (event.target === this.speaker || event.target.matches("[data-through]")) this.name();
      else if (event.target.dataset.time) this.setTime(event.target.dataset.time, seconds(event.target.value));
    }

    // "Also those after it": up to where somebody else spoke when the cue was opened.
    name() {
      const name = tidy(this.speaker.value);
      const { cues } = this.editor.history;
      let last = this.at;
      if (this.form.querySelector("[data-through]").checked) while (cues[last + 1]?.speaker === this.opened.speaker) last += 1;
      if (cues.slice(this.at, last + 1).every((cue) => cue.speaker === name)) return;
      this.editor.do({ op: "speaker", cue: this.at, ...(last > this.at ? { through: last } : {}), speaker: name || null });
    }

    // Times keep out of the neighbours, as on the server; those of captions that overlap already may stay.
    setTime(name, value) {
      const { cues } = this.editor.history;
      const { start, end } = this.cue;
      const [from, to] = name === "start" ? [value, end] : [start, value];
      const low = Math.min(cues[this.at - 1]?.end ?? 0, start);
      const high = Math.max(cues[this.at + 1]?.start ?? (this.editor.seconds || Infinity), end);
      if (Number.isNaN(value)) this.refuse("Write a time such as 1:02.5.");
      else if (to - from < FEWEST_SECONDS - 0.0005) this.refuse("A cue ends at least 0.1 s after it starts.");
      else if (from < low || to > high) this.refuse(`There is room from ${written(low)} to ${written(high)}. Change the neighbour's times first.`);
      else if (from !== start || to !== end) {
        this.editor.do({ op: "times", cue: this.at, start_seconds: round(from), end_seconds: round(to) });
        this.fill();
      } else this.fill();
    }

    // ---- What is pressed ----
    clicked(event) {
      const button = event.target.closest("button");
      if (!button) return;
      const { nudge, of, fromPlayer, cueDo } = button.dataset;
      if (nudge) this.setTime(of, round(this.cue[of] + Number(nudge)));
      else if (fromPlayer) this.setTime(fromPlayer, round(this.editor.sound.now()));
      else if (cueDo) this.act(cueDo);
    }

    pressed(event) {
      if (event.isComposing) return;
      const name = this.keyOf(event);
      const field = event.target.dataset?.time;
      if (field && ["ArrowUp", "ArrowDown"].includes(event.key)) {
        event.preventDefault();
        this.setTime(field, round(this.cue[field] + (event.key === "ArrowUp" ? 0.1 : -0.1)));
      } else if (name) {
        event.preventDefault();
        event.stopPropagation();
        this.act(name);
      }
    }

    keyOf(event) {
      const isCommand = event.ctrlKey || event.metaKey;
      const isShift = event.shiftKey;
      const isText = event.target === this.text;
      if (event.key === "Escape") return "revert";
      if (event.key === "Enter" && isCommand) return isShift ? "back" : "next";
      if (event.key === "Enter" && event.altKey) return "insert";
      if (event.key === "Enter" && isText && !isShift) return "close";
      if (isCommand && event.code === "Space") return isShift ? "loop" : "play";
      if (!isCommand || !isShift) return "";
      return { s: "split", arrowup: "merge-before", arrowdown: "merge-after", backspace: "delete" }[event.key.toLowerCase()] ?? "";
    }

    act(name) {
      const verbs = {
        play: () => this.editor.sound.toggle(this.cue),
        loop: () => this.loop(),
        next: () => this.next(1),
        back: () => this.next(-1),
        close: () => this.editor.close({ focuses: true }),
        revert: () => this.revert(),
        split: () => this.split(),
        "merge-before": () => this.merge(this.at - 1),
        "merge-after": () => this.merge(this.at),
        insert: () => this.insert(),
        delete: () => this.remove(),
      };
      try {
        verbs[name]?.();
      } catch (error) {
        this.refuse(error.message);
      }
    }

    loop() {
      const loops = this.editor.sound.loop(this.cue);
      this.form.querySelector('[data-cue-do="loop"]').setAttribute("aria-pressed", String(loops));
    }

    next(step) {
      const to = this.at + step;
      this.editor.open(this.removeIfEmpty() && step > 0 ? this.at : to, { plays: true });
    }

    // Once to take back what was done since the cue was opened, once more to close it.
    revert() {
      const { text, speaker, start, end } = this.opened;
      const now = this.cue;
      if (tidy(this.text.value) === text && now.speaker === speaker && now.start === start && now.end === end) {
        this.editor.close({ focuses: true });
        return;
      }
      if (now.text !== text) this.editor.do({ op: "text", cue: this.at, text });
      if (now.speaker !== speaker) this.editor.do({ op: "speaker", cue: this.at, speaker: speaker || null });
      if (now.start !== start || now.end !== end) this.editor.do({ op: "times", cue: this.at, start_seconds: start, end_seconds: end });
      this.text.value = text;
      this.fill();
      this.editor.say("This cue is as it was.");
    }

    split() {
      const place = this.text.value === this.cue.text ? this.text.selectionStart : tidy(this.text.value.slice(0, this.text.selectionStart)).length;
      this.editor.do({ op: "split", cue: this.at, at: wordsBefore(this.cue.text, place) });
      this.editor.open(this.at + 1, { caret: 0 });
      this.editor.say("Split in two.");
    }

    merge(first) {
      const { cues } = this.editor.history;
      if (first < 0 || first + 1 >= cues.length) throw new Error(first < 0 ? "This is the first cue." : "This is the last cue.");
      const caret = cues[first].text.length;
      this.editor.do({ op: "merge", cue: first });
      this.editor.open(first, { caret });
      this.editor.say("Merged.");
    }

    // Where the next cue follows at once, this one makes room by ending earlier.
    insert() {
      const { cues } = this.editor.history;
      const { start, end } = this.cue;
      const until = cues[this.at + 1]?.start ?? (this.editor.seconds || end + NEW_SECONDS);
      const ops = [];
      let from = end;
      if (until - end < NEW_SECONDS / 2) {
        from = round(Math.max(start + FEWEST_SECONDS, end - Math.min(NEW_SECONDS, (end - start) / 2)));
        if (until - from < FEWEST_SECONDS) throw new Error("There is no room for a cue here. Change the times first.");
        ops.push({ op: "times", cue: this.at, start_seconds: start, end_seconds: from });
      }
      ops.push({ op: "insert", cue: this.at + 1, start_seconds: from, end_seconds: round(Math.min(until, from + NEW_SECONDS)), text: "…", ...(this.cue.speaker ? { speaker: this.cue.speaker } : {}) });
      this.editor.do(...ops);
      this.editor.open(this.at + 1, { caret: 0, until: 1 });
      this.editor.say("A cue was inserted.");
    }

    remove() {
      const { at } = this;
      this.editor.do({ op: "delete", cue: at });
      this.editor.close();
      this.editor.list.focus(Math.min(at, this.editor.history.cues.length - 1));
      this.editor.say("The cue was deleted.");
    }

    removeIfEmpty() {
      if (tidy(this.text.value)) return false;
      this.editor.do({ op: "delete", cue: this.at });
      this.editor.say("The empty cue was deleted.");
      return true;
    }

    close() {
      if (document.activeElement === this.speaker) this.name();
      this.form.remove();
      this.row.classList.remove("is-open");
    }
  }

  // ---- Sound of one cue ----
  class Sound {
    constructor(player) {
      this.player = player;
      this.until = null; // { start, end, loops }
      player?.addEventListener("timeupdate", () => this.watch());
      player?.addEventListener("pause", () => { if (!this.until?.loops) this.until = null; });
    }

    now() { return this.player?.currentTime ?? 0; }

    play(cue, loops = false) {
      if (!this.player) return;
      this.until = { start: cue.start, end: cue.end, loops };
      this.player.currentTime = cue.start;
      this.player.play().catch(() => {}); // a browser may refuse to play before the first click
      this.watch();
    }

    toggle(cue) {
      if (!this.player) return;
      if (!this.player.paused) {
        this.stop();
        this.player.pause();
      } else if (this.now() >= cue.start && this.now() < cue.end - 0.05) this.player.play().catch(() => {});
      else this.play(cue);
    }

    loop(cue) {
      const loops = !this.until?.loops;
      if (loops) this.play(cue, true);
      else this.stop();
      return loops;
    }

    stop() { this.until = null; }

    // The player tells its time four times a second; near the end of the cue it is looked at in every frame.
    watch() {
      if (!this.until || this.player.paused) return;
      if (this.now() >= this.until.end) {
        if (this.until.loops) this.player.currentTime = this.until.start;
        else {
          this.stop();
          this.player.pause();
          return;
        }
      }
      if (this.until.end - this.now() < 0.5 && !this.frame) {
        this.frame = requestAnimationFrame(() => {
          this.frame = 0;
          this.watch();
        });
      }
    }
  }

  Object.assign(window.transcriptEditor, { CueForm, Sound, written });
})();
