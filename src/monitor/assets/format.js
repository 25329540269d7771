// Numbers as people read them at a glance; the same forms as the status sentence, which the gateway writes.

export function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}

// Three significant digits and commas: 84,200.
export function rate(value) {
  if (value < 10 && value % 1 > 0.005) return value.toFixed(1);
  const magnitude = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))) - 2);
  return whole(Math.round(value / magnitude) * magnitude);
}

export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return share > 0 && share < 0.0995 ? `${(share * 100).toFixed(1)} %` : `${Math.round(share * 100)} %`;
}

export function micros(us) {
  if (us < 100) return `${us.toFixed(us > 0 && us < 10 ? 1 : 0)} µs`;
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 10_000) return `${(us / 1000).toFixed(2)} ms`;
  if (us < 1_000_000) return `${(us / 1000).toFixed(us < 100_000 ? 1 : 0)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

export function span(seconds) {
  if (seconds < 0.5) return "< 1 s";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

export function moment(ms) {
  return new Date(ms).toLocaleString([], { hour12: false });
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}
