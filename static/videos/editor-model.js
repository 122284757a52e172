// What is edited, without any page: the cues, the operations that change them, and the way back.
// A cue is a frozen object; what was not changed stays the same object, so that changes are found by identity.
// The server does the same operations again when they are saved, and what it answers is the truth.
(() => {
  "use strict";

  const LONGEST_WORD = 42;
  const MOST_CHARACTERS = 1000; // of one cue
  const MOST_SECONDS = 60;
  const LETTERS = "\\u0e01-\\u0e3a\\u0e40-\\u0e4e\\u0e81-\\u0edf\\u1000-\\u109f\\u1780-\\u17d3\\u2e80-\\u2fdf\\u3005-\\u3007\\u3021-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\uff66-\\uff9f\\u{20000}-\\u{3ffff}";
  const TOKEN = new RegExp(`[${LETTERS}]|[^${LETTERS}]+`, "gu");
  const UNSPACED = new RegExp(`^[${LETTERS}]`, "u");
  const CLOSING = /^[、。，．！？：；）」』】》〉…ー・”’\p{M}]+/u;

  // ---- Words: the same rules as app/lib/words.py ----
  function split(text) {
    const words = []; // [text, offset]
    for (const { 0: token, index } of text.matchAll(/\S+/gu)) {
      for (const found of token.matchAll(TOKEN)) {
        let part = found[0];
        let offset = index + found.index;
        const head = found.index && words.length ? part.match(CLOSING)?.[0] ?? "" : "";
        if (head) {
          words.at(-1)[0] += head;
          part = part.slice(head.length);
          offset += head.length;
        }
        const letters = [...part];
        for (let from = 0; from < letters.length; from += LONGEST_WORD) {
          const word = letters.slice(from, from + LONGEST_WORD).join("");
          words.push([word, offset]);
          offset += word.length;
        }
      }
    }
    return words;
  }

  const isJoined = (before, after) => Boolean(before && after && UNSPACED.test(after) && (UNSPACED.test([...before].at(-1)) || CLOSING.test([...before].at(-1))));
  const join = (one, other) => (!one || !other || isJoined(one, other) ? one + other : `${one} ${other}`);
  const tidy = (text) => text.split(/\s+/u).filter(Boolean).join(" ");
  const round = (seconds) => Math.round(seconds * 1000) / 1000;

  // How many words stand before a place in the text; inside a word, the nearer of its ends counts.
  function wordsBefore(text, place) {
    return split(text).filter(([word, offset]) => offset + word.length / 2 <= place).length;
  }

  // ---- Operations ----
  const patch = (cues, at, count, ...added) => ({ at, removed: cues.slice(at, at + count), added: added.map(Object.freeze) });

  function halves(cue, at) {
    const words = split(cue.text);
    if (at < 1 || at >= words.length) throw new Error("There is nothing to split here. Put the cursor between two words.");
    const place = words[at][1];
    const known = cue.words ? cue.words.split(" ") : [];
    const share = cue.start + ((cue.end - cue.start) * place) / cue.text.length;
    const seconds = round(known.length === words.length ? Number(known[at].split(",")[1]) / 100 : share);
    const middle = Math.min(Math.max(seconds, cue.start), cue.end);
    const right = known.length === words.length ? known.slice(at).map((pair) => pair.split(",")).map(([offset, time]) => `${offset - place},${time}`).join(" ") : null;
    const left = known.length === words.length ? known.slice(0, at).join(" ") : null;
    return [
      { ...cue, end: middle, text: cue.text.slice(0, place).trim(), words: left, unsure: "" },
      { ...cue, start: middle, text: cue.text.slice(place).trim(), words: right, unsure: "" },
    ];
  }

  function merged(one, other) {
    const text = join(one.text, other.text);
    if (text.length > MOST_CHARACTERS || other.end - one.start > MOST_SECONDS) throw new Error("Together they would be too long for one cue.");
    const shift = text.length - other.text.length;
    const moved = other.words?.split(" ").map((pair) => pair.split(",")).map(([offset, time]) => `${Number(offset) + shift},${time}`).join(" ");
    const words = one.words && moved ? `${one.words} ${moved}` : null;
    return { ...one, end: Math.max(one.end, other.end), text, words, unsure: "", flag: one.flag || other.flag, speaker: one.speaker || other.speaker };
  }

  // What is found: letter by letter, in the order in which the server goes. A whole word has no letter or digit beside it.
  const LETTER = /[\p{L}\p{M}\p{N}_]/u;
  const isBorder = (before, after) => !(before && after && LETTER.test(before) && LETTER.test(after)) || split(before + after).length > 1;

  function isWhole(text, start, end) {
    const before = [...text.slice(Math.max(0, start - 2), start)].at(-1) ?? "";
    const after = [...text.slice(end, end + 2)][0] ?? "";
    const found = [...text.slice(start, end)];
    return isBorder(before, found[0]) && isBorder(found.at(-1), after);
  }

  function replaced(text, { find, with: by, match_case: hasCase, whole_words: wantsWhole }) {
    const pattern = new RegExp(find.replace(/[\\^$.*+?()[\]{}|/-]/gu, "\\$&"), hasCase ? "gu" : "giu");
    let times = 0;
    const result = text.replace(pattern, (found, place) => {
      if (wantsWhole && !isWhole(text, place, place + found.length)) return found;
      times += 1;
      return by;
    });
    return { text: tidy(result), times };
  }

  const count = (cues, op) => (op.find.trim() ? cues.reduce((sum, cue) => sum + replaced(cue.text, op).times, 0) : 0);

  const rewritten = (cue, text) => ({ ...cue, text, words: null, unsure: "", flag: "" });

  const verbs = {
    text: (cues, op) => [patch(cues, op.cue, 1, rewritten(cues[op.cue], op.text))],
    times: (cues, op) => [patch(cues, op.cue, 1, { ...cues[op.cue], start: op.start_seconds, end: op.end_seconds })],
    split: (cues, op) => [patch(cues, op.cue, 1, ...halves(cues[op.cue], op.at))],
    merge: (cues, op) => [patch(cues, op.cue, 2, merged(cues[op.cue], cues[op.cue + 1]))],
    delete: (cues, op) => [patch(cues, op.cue, 1)],
    insert: (cues, op) => [patch(cues, op.cue, 0, { start: op.start_seconds, end: op.end_seconds, text: op.text, speaker: op.speaker ?? "", flag: "", words: null, unsure: "" })],
    speaker: (cues, op) => {
      const last = op.through ?? op.cue;
      return [patch(cues, op.cue, last - op.cue + 1, ...cues.slice(op.cue, last + 1).map((cue) => ({ ...cue, speaker: op.speaker ?? "" })))];
    },
    rename_speaker: (cues, op) => each(cues, (cue) => (cue.speaker === op.speaker ? { ...cue, speaker: op.to } : cue)),
    // A cue that is left without words goes; from the end, so that the places before it stay true.
    replace: (cues, op) => cues.map((cue, at) => [cue, replaced(cue.text, op).text, at])
      .filter(([cue, text]) => text !== cue.text)
      .map(([cue, text, at]) => (text ? patch(cues, at, 1, rewritten(cue, text)) : patch(cues, at, 1)))
      .reverse(),
  };

  function each(cues, change) {
    return cues.map((cue, at) => [cue, change(cue), at]).filter(([before, after]) => before !== after).map(([, after, at]) => patch(cues, at, 1, after));
  }

  // ---- History ----
  const SIMPLE = ["text", "times", "speaker"];
  const isSame = (one, other) => one.text === other.text && one.start === other.start && one.end === other.end && one.speaker === other.speaker;

  class History {
    constructor(base) {
      this.base = base;
      this.cues = [...base];
      this.done = []; // { ops, patches }
      this.undone = [];
    }

    get ops() { return this.done.flatMap((entry) => entry.ops); }

    // Does operations as one change and returns what they changed.
    do(...ops) {
      if (ops.length === 1 && this.#joins(ops[0])) return this.#rejoin(ops[0]);
      const patches = [];
      for (const op of ops) {
        const made = verbs[op.op](this.cues, op);
        this.#apply(made);
        patches.push(...made);
      }
      if (!patches.length) return patches;
      this.undone = [];
      this.done.push({ ops, patches });
      return patches;
    }

    // Typing in one cue is one change, however many keys it took.
    #joins(op) {
      const last = this.done.at(-1)?.ops;
      return last?.length === 1 && SIMPLE.includes(op.op) && last[0].op === op.op && last[0].cue === op.cue && last[0].through === undefined && op.through === undefined;
    }

    #rejoin(op) {
      const patches = verbs[op.op](this.cues, op);
      const first = this.done.pop().patches[0];
      const before = first.removed[0];
      this.undone = [];
      if (isSame(before, patches[0].added[0])) patches[0].added[0] = before; // as it was: no change at all
      else this.done.push({ ops: [op], patches: [{ ...first, added: patches[0].added }] });
      this.#apply(patches);
      return patches;
    }

    undo() {
      const entry = this.done.pop();
      if (!entry) return null;
      this.undone.push(entry);
      const patches = entry.patches.map(({ at, removed, added }) => ({ at, removed: added, added: removed })).reverse();
      this.#apply(patches);
      return patches;
    }

    redo() {
      const entry = this.undone.pop();
      if (!entry) return null;
      this.done.push(entry);
      this.#apply(entry.patches);
      return entry.patches;
    }

    #apply(patches) {
      for (const { at, removed, added } of patches) {
        if (removed.length === 1 && added.length === 1) [this.cues[at]] = added;
        else this.cues.splice(at, removed.length, ...added);
      }
    }
  }

  // ---- Changes that are to stand on another version ----
  // Stretches of cues that differ: { before, after, previous (the cue before them) }.
  function hunks(base, cues) {
    const place = new Map(base.map((cue, at) => [cue, at]));
    const found = [];
    let next = 0;
    let after = [];
    for (const cue of [...cues, null]) {
      const at = cue ? place.get(cue) : base.length;
      if (at === undefined) {
        after.push(cue);
        continue;
      }
      if (at > next || after.length) found.push({ before: base.slice(next, at), after, previous: base[next - 1] });
      next = at + 1;
      after = [];
    }
    return found.flatMap(pairs);
  }

  // Neighbours that were changed one by one are changes of their own.
  function pairs(hunk) {
    if (hunk.before.length !== hunk.after.length) return [hunk];
    return hunk.before.map((cue, at) => ({ before: [cue], after: [hunk.after[at]], previous: at ? hunk.before[at - 1] : hunk.previous }));
  }

  // Where cues with the same words stand, the nearest in time; -1 when nowhere.
  function findCues(cues, wanted) {
    let best = -1;
    for (let at = 0; at + wanted.length <= cues.length; at += 1) {
      if (!wanted.every((cue, number) => cues[at + number].text === cue.text)) continue;
      if (best < 0 || Math.abs(cues[at].start - wanted[0].start) < Math.abs(cues[best].start - wanted[0].start)) best = at;
    }
    return best;
  }

  // The operations that bring hunks onto other cues, from the end so that places stay true, and the hunks that do not fit.
  function rebase(found, cues) {
    const placed = [];
    const left = [];
    for (const hunk of found) {
      const { before, after, previous } = hunk;
      if (before.length && after.length && findCues(cues, after) >= 0 && findCues(cues, before) < 0) continue; // it says so already
      const at = before.length ? findCues(cues, before) : previous ? findCues(cues, [previous]) + 1 || -1 : 0;
      const isTaken = placed.some((other) => at < other.at + other.before.length && other.at < at + before.length);
      if (at < 0 || isTaken) left.push(hunk);
      else placed.push({ ...hunk, at });
    }
    placed.sort((one, other) => other.at - one.at);
    return { ops: placed.flatMap((each) => moves(each, cues)), fitting: placed.length, left };
  }

  function moves({ at, before, after }, cues) {
    const both = Math.min(before.length, after.length);
    const ops = [];
    for (let number = before.length - 1; number >= both; number -= 1) ops.push({ op: "delete", cue: at + number });
    for (let number = 0; number < both; number += 1) {
      const [old, wanted, now] = [before[number], after[number], cues[at + number]];
      const cue = at + number;
      if (wanted.text !== old.text) ops.push({ op: "text", cue, text: wanted.text });
      if (wanted.speaker !== old.speaker && wanted.speaker !== now.speaker) ops.push({ op: "speaker", cue, speaker: wanted.speaker || null });
      if (wanted.start !== old.start || wanted.end !== old.end) ops.push({ op: "times", cue, start_seconds: wanted.start, end_seconds: wanted.end });
    }
    for (let number = both; number < after.length; number += 1) {
      const cue = after[number];
      ops.push({ op: "insert", cue: at + number, start_seconds: cue.start, end_seconds: cue.end, text: cue.text, ...(cue.speaker ? { speaker: cue.speaker } : {}) });
    }
    return ops;
  }

  window.transcriptEditor = { History, count, hunks, rebase, split, tidy, wordsBefore };
})();
