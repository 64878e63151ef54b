"use strict";
// Spectrograms of the very sounds that are played: Hann taper of about 46 ms, rows even in mel.
const ROWS = 144;
const LOWEST_HZ = 50;
const RANGE_DB = 75; // shown below the loudest point of the original
const MOST_CHANGE_DB = 20;
const LEVELS = ["000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf"]; // magma
const GRAYS = ["161616", "e6e6e6"]; // below a map
const CHANGES = ["053061", "2f79b5", "9bc9e0", "f7f7f7", "f3a481", "c13639", "67001f"]; // blue to red

const melOf = (hz) => 2595 * Math.log10(1 + hz / 700);
const hzOf = (mel) => 700 * (10 ** (mel / 2595) - 1);
const heightOf = (hz, rate) => (melOf(hz) - melOf(LOWEST_HZ)) / (melOf(rate / 2) - melOf(LOWEST_HZ));

// Cooley and Tukey's transform, in place; the length is a power of two.
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const c = Math.cos((-Math.PI * k) / half);
      const s = Math.sin((-Math.PI * k) / half);
      for (let a = k; a < size; a += 2 * half) {
        const b = a + half;
        const re = real[b] * c - imaginary[b] * s;
        const im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}

// Return power in dB, a row for each mel band from the lowest, and how many columns there are.
function spectrogram(buffer, columns) {
  const samples = buffer.getChannelData(0);
  const rate = buffer.sampleRate;
  let size = 64;
  while (size < rate * 0.035) size *= 2;
  const taper = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  const edges = Float64Array.from({ length: ROWS + 1 }, (_, row) => {
    const mel = melOf(LOWEST_HZ) + (row / ROWS) * (melOf(rate / 2) - melOf(LOWEST_HZ));
    return (hzOf(mel) * size) / rate;
  });
  const values = new Float32Array(ROWS * columns);
  for (let column = 0; column < columns; column++) {
    const first = Math.round(((column + 0.5) / columns) * samples.length - size / 2);
    const real = taper.map((weight, n) => weight * (samples[first + n] ?? 0));
    const imaginary = new Float64Array(size);
    transform(real, imaginary);
    const power = (bin) => real[bin] ** 2 + imaginary[bin] ** 2;
    for (let row = 0; row < ROWS; row++) {
      const [low, high] = [edges[row], edges[row + 1]];
      const center = (low + high) / 2;
      let sum = 0;
      let count = 0;
      for (let bin = Math.ceil(low); bin < high; bin++, count++) sum += power(bin);
      const below = Math.floor(center);
      const between = power(below) + (center - below) * (power(below + 1) - power(below));
      values[row * columns + column] = 10 * Math.log10((count > 1 ? sum / count : between) + 1e-12);
    }
  }
  return { values, columns };
}

const loudestOf = ({ values }) => values.reduce((most, value) => Math.max(most, value), -Infinity);

function changeOf(before, after, loudest) {
  const floor = loudest - RANGE_DB;
  const values = before.values.map((value, k) => Math.max(after.values[k], floor) - Math.max(value, floor));
  return { values, columns: before.columns };
}

function paint(canvas, { values, columns }, low, high, colors) {
  const stops = colors.map((hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  canvas.width = columns;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, ROWS);
  values.forEach((value, k) => {
    const share = Math.max(0, Math.min(1, (value - low) / (high - low))) * (stops.length - 1);
    const stop = Math.min(stops.length - 2, Math.floor(share));
    const pixel = 4 * ((ROWS - 1 - Math.floor(k / columns)) * columns + (k % columns));
    for (let c = 0; c < 3; c++) {
      image.data[pixel + c] = stops[stop][c] + (share - stop) * (stops[stop + 1][c] - stops[stop][c]);
    }
    image.data[pixel + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

const paintLevels = (canvas, seen, loudest) => paint(canvas, seen, loudest - RANGE_DB, loudest, LEVELS);
const paintChange = (canvas, seen) => paint(canvas, seen, -MOST_CHANGE_DB, MOST_CHANGE_DB, CHANGES);

// A map, red and blue of some opacity, over the spectrogram in gray.
function paintMap(canvas, seen, loudest, uri) {
  paint(canvas, seen, loudest - RANGE_DB, loudest, GRAYS);
  const image = make("img", { src: uri });
  image.decode().then(() => {
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.dataset.drawn = "map";
  });
}
