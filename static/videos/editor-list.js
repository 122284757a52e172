// The rows of the cues: read as what the editor works on, and changed where that was changed. The markup is that of
// videos/_transcript.html, so that player.js and unsure.js need not know who made a row.
(() => {
  "use strict";

  const { split } = window.transcriptEditor;

  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (value) => String(value).padStart(2, "0");
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  }

  function cueOf(row) {
    const { s, e, w, p, u } = row.dataset;
    return Object.freeze({
      start: Math.round(Number(s) * 1000) / 1000,
      end: Math.round(Number(e) * 1000) / 1000,
      text: row.querySelector(".cue-text > span").textContent,
      speaker: p ?? "",
      flag: row.querySelector(".cue-flag")?.textContent ?? "",
      words: w ?? null,
      unsure: u ?? "",
    });
  }

  // A cue as the server answers it; words are [text, start, end, confidence].
  function fromAnswer(cue, flags, unsureBelow) {
    const text = cue.text.split(/\s+/u).filter(Boolean).join(" ");
    const places = split(text);
    const hasWords = places.length === cue.words.length;
    return Object.freeze({
      start: cue.start_seconds,
      end: cue.end_seconds,
      text,
      speaker: cue.speaker ?? "",
      flag: cue.flags.map((flag) => flags[flag]).find(Boolean) ?? "",
      words: hasWords ? places.map(([, offset], number) => `${offset},${Math.round(cue.words[number][1] * 100)}`).join(" ") : "",
      unsure: cue.words.map(([, , , sure], number) => (sure !== null && sure < unsureBelow ? number : -1)).filter((number) => number >= 0).join(" "),
    });
  }

  class List {
    constructor(box) {
      this.box = box;
      this.rows = [...box.children];
      this.isEditing = false;
      this.at = 0; // the row that Tab reaches
    }

    read() { return this.rows.map(cueOf); }

    indexOf(row) { return this.rows.indexOf(row); }

    #fill(row, cue) {
      const set = (name, value) => (value === "" || value === null ? delete row.dataset[name] : row.dataset[name] = value);
      set("s", String(cue.start));
      set("e", String(cue.end));
      row.dataset.w = cue.words ?? "";
      set("p", cue.speaker);
      set("u", cue.unsure);
      const time = row.querySelector(".cue-time");
      time.textContent = clock(cue.start);
      time.setAttribute("href", `?t=${cue.start}`);
      const span = row.querySelector(".cue-text > span");
      if (span.textContent !== cue.text) span.textContent = cue.text;
      row.querySelector(".cue-flag")?.remove();
      if (cue.flag) {
        const flag = document.createElement("em");
        flag.className = "cue-flag";
        flag.textContent = cue.flag;
        span.after(flag);
      }
    }

    #make(cue) {
      const row = document.createElement("li");
      row.className = "cue";
      const time = document.createElement("a");
      time.className = "cue-time num";
      const text = document.createElement("p");
      text.className = "cue-text";
      text.append(document.createElement("span"));
      row.append(time, text);
      this.#fill(row, cue);
      if (this.isEditing) this.#arm(row);
      return row;
    }

    // A speaker's name stands where the speaker changes.
    #name(at) {
      const row = this.rows[at];
      if (!row) return;
      const name = row.dataset.p;
      const isNew = name && name !== this.rows[at - 1]?.dataset.p;
      const shown = row.querySelector(".cue-speaker");
      if (!isNew) shown?.remove();
      else if (shown) shown.textContent = name;
      else {
        const label = document.createElement("b");
        label.className = "cue-speaker";
        label.textContent = name;
        row.querySelector(".cue-text").prepend(label);
      }
    }

    show(patches) {
      for (const { at, removed, added } of patches) {
        const same = Math.min(removed.length, added.length);
        for (let number = 0; number < same; number += 1) this.#fill(this.rows[at + number], added[number]);
        const fresh = added.slice(same).map((cue) => this.#make(cue));
        const gone = this.rows.splice(at + same, removed.length - same, ...fresh);
        for (const row of gone) row.remove();
        if (fresh.length) {
          const after = this.rows[at + same + fresh.length] ?? null;
          for (const row of fresh) this.box.insertBefore(row, after);
        }
        for (let number = at; number <= at + added.length; number += 1) this.#name(number);
      }
      if (this.isEditing) this.reach(Math.min(this.at, this.rows.length - 1));
    }

    // Shows cues in place of those shown before; rows that stay the same are left alone, and so is the scroll.
    showAll(before, cues) {
      const keys = ["start", "end", "text", "speaker", "flag", "words", "unsure"];
      const isSame = (one, other) => keys.every((key) => (one[key] ?? "") === (other[key] ?? ""));
      const patches = [];
      const both = Math.min(before.length, cues.length);
      for (let at = 0; at < both; at += 1) if (!isSame(before[at], cues[at])) patches.push({ at, removed: [before[at]], added: [cues[at]] });
      if (before.length !== cues.length) patches.push({ at: both, removed: before.slice(both), added: cues.slice(both) });
      this.show(patches);
    }

    // ---- While it is edited, every cue is a button, and Tab reaches one of them ----
    #arm(row) {
      const text = row.querySelector(".cue-text");
      text.setAttribute("role", "button");
      text.tabIndex = -1;
    }

    edit(isEditing) {
      this.isEditing = isEditing;
      for (const row of this.rows) {
        if (isEditing) this.#arm(row);
        else for (const name of ["role", "tabindex"]) row.querySelector(".cue-text").removeAttribute(name);
      }
      if (isEditing) this.reach(this.at);
    }

    reach(at) {
      if (this.rows[this.at]) this.rows[this.at].querySelector(".cue-text").tabIndex = -1;
      this.at = Math.max(0, at);
      if (this.rows[this.at]) this.rows[this.at].querySelector(".cue-text").tabIndex = 0;
    }

    focus(at) {
      this.reach(at);
      const row = this.rows[this.at];
      if (!row) return;
      row.querySelector(".cue-text").focus({ preventScroll: true });
      this.reveal(this.at);
    }

    reveal(at) {
      const row = this.rows[at];
      const box = this.box;
      const scrolls = box.scrollHeight > box.clientHeight + 1 && getComputedStyle(box).overflowY !== "visible";
      if (!scrolls) row.scrollIntoView({ block: "nearest" });
      else {
        const top = row.offsetTop - box.offsetTop;
        if (top < box.scrollTop + 8) box.scrollTop = top - 8;
        else if (top + row.offsetHeight > box.scrollTop + box.clientHeight - 8) box.scrollTop = top + Math.min(0, row.offsetHeight - box.clientHeight + 16) - Math.max(0, box.clientHeight - row.offsetHeight - 16);
      }
    }
  }

  Object.assign(window.transcriptEditor, { List, clock, cueOf, fromAnswer });
})();
