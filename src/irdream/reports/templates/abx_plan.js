"use strict";
// What is drawn and counted; nothing here knows the page.

// The chance of at least `right` right answers among `trials` guesses: exact, then rounded once.
function guessingChance(right, trials) {
  let ways = 1n;
  let sum = 0n;
  for (let k = 0; k <= trials; k += 1) {
    if (k >= right) sum += ways;
    ways = (ways * BigInt(trials - k)) / BigInt(k + 1);
  }
  return Number(sum) / 2 ** trials;
}

// A whole number below `limit`, all equally likely: values beyond the last full round are thrown away.
function randomBelow(limit) {
  const drawn = new Uint32Array(1);
  const end = 2 ** 32 - (2 ** 32 % limit);
  do crypto.getRandomValues(drawn); while (drawn[0] >= end);
  return drawn[0] % limit;
}

function shuffled(values) {
  const left = [...values];
  for (let i = left.length - 1; i > 0; i -= 1) {
    const j = randomBelow(i + 1);
    [left[i], left[j]] = [left[j], left[i]];
  }
  return left;
}

// Trials with the pair of each, what A is, and whether X is A. Counts of pairs differ by one at most.
function drawTrials(pairs, trials) {
  const order = [];
  while (order.length < trials) order.push(...shuffled(Array(pairs).keys()));
  return shuffled(order.slice(0, trials)).map((pair) => ({
    pair,
    aIsDream: randomBelow(2) === 1,
    xIsA: randomBelow(2) === 1,
  }));
}

function csvOf(rows) {
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return rows.map((row) => row.map((value) => quoted(String(value))).join(",")).join("\n") + "\n";
}
