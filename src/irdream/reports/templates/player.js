"use strict";
// One player for all sounds of a page: original, dream, difference and what lies between run side
// by side, and one of them is let through, so that a switch keeps the position.
const at = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const [FIRST, MAIN, THIRD] = JSON.parse(at("given").textContent).voices; // original, dream, difference

const player = (() => {
  const buffers = new Map(); // of the present dream, by the number of their file
  const state = { entry: null, voice: MAIN, isPlaying: false };
  let audio = null;
  let running = []; // [voice, its gain, its sources]
  let offset = 0;
  let began = 0;
  let loading = Promise.resolve();
  let changed = () => {};

  const rateOf = (entry) => Math.max(8000, entry.rate); // no browser goes lower than 3000
  const seconds = () => buffers.values().next().value?.duration ?? state.entry?.seconds ?? 0;
  const voicesOf = (entry) => (entry?.voices ?? []).map(({ name }) => name);

  function decode(file, rate) {
    const text = at(`file-${file}`).textContent;
    const bytes = Uint8Array.from(atob(text.slice(text.indexOf(",") + 1)), (c) => c.charCodeAt(0));
    return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.buffer);
  }

  // The difference is the dream with the original turned over; so, but for its sign, is the rest.
  function partsOf(voice) {
    const find = (name) => state.entry.voices.find((other) => other.name === name).file;
    return voice.file === null ? [[find(MAIN), 1], [find(FIRST), -1]] : [[voice.file, 1]];
  }

  function position() {
    if (!state.isPlaying) return offset;
    const passed = Math.max(0, audio.currentTime - began);
    return at("repeat").checked ? passed % seconds() : Math.min(passed, seconds());
  }

  function silence() {
    for (const [, gain, sources] of running) {
      gain.gain.setTargetAtTime(0, audio.currentTime, 0.005); // a cut would click
      for (const source of sources) {
        source.onended = null;
        source.stop(audio.currentTime + 0.05);
      }
    }
    running = [];
  }

  function sound() {
    const start = audio.currentTime + 0.01;
    began = start - offset;
    running = state.entry.voices.map((voice) => {
      const gain = new GainNode(audio, { gain: voice.name === state.voice ? 1 : 0 });
      gain.connect(audio.destination);
      const sources = partsOf(voice).map(([file, sign]) => {
        const source = new AudioBufferSourceNode(audio, { buffer: buffers.get(file), loop: at("repeat").checked });
        source.connect(new GainNode(audio, { gain: sign * 10 ** (voice.gain / 20) })).connect(gain);
        source.start(start, offset);
        return source;
      });
      return [voice, gain, sources];
    });
    running[0][2][0].onended = () => pause(0);
  }

  function pause(to = position()) {
    if (audio) silence();
    offset = to;
    state.isPlaying = false;
    changed();
  }

  async function play() {
    const { entry } = state;
    if (!entry?.voices.length || state.isPlaying) return;
    if (audio?.sampleRate !== rateOf(entry)) {
      audio?.close();
      audio = new AudioContext({ sampleRate: rateOf(entry) }); // the browser then resamples well
    }
    state.isPlaying = true;
    changed();
    await Promise.all([loading, audio.resume()]);
    if (!state.isPlaying || state.entry !== entry || running.length) return;
    sound();
    changed();
  }

  // Switch what is heard; it goes on from where it is, or begins.
  function choose(name) {
    if (!voicesOf(state.entry).includes(name)) return;
    state.voice = name;
    for (const [voice, gain] of running) gain.gain.setTargetAtTime(voice.name === name ? 1 : 0, audio.currentTime, 0.008);
    changed();
    play();
  }

  function seek(to) {
    offset = Math.max(0, Math.min(to, seconds() - 0.01));
    if (running.length) {
      silence();
      sound();
    }
    changed();
  }

  // Return when all sounds of a dream can be played.
  function load(entry) {
    if (entry === state.entry) return loading;
    pause(0);
    Object.assign(state, { entry, voice: voicesOf(entry).includes(state.voice) ? state.voice : MAIN });
    buffers.clear();
    const files = entry.voices.map(({ file }) => file).filter((file) => file !== null);
    loading = Promise.all(files.map(async (file) => {
      const buffer = await decode(file, rateOf(entry));
      if (state.entry === entry) buffers.set(file, buffer);
    }));
    return loading;
  }

  const onChange = (listener) => { changed = listener; };
  const toggle = () => (state.isPlaying ? pause() : play());
  return { state, buffers, decode, rateOf, seconds, position, load, play, pause, toggle, choose, seek, voicesOf, onChange };
})();
