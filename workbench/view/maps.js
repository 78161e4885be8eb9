// Attention maps as numbers: read, folded, compared, measured, put into words. Knows no page.
// A head holds `values` [rows x columns]: multiples of uniform; NaN where a mask forbids the key.

function readHeads(maps, bytes) {
  const times = halves(bytes);
  const heads = [];
  let start = 0;
  for (const { name, shape, query, key } of maps) {
    const [layers, count, rows, columns] = shape;
    for (let i = 0; i < layers * count; i++) {
      const own = times.subarray(start, start + rows * columns);
      const place = { name, layer: Math.floor(i / count), head: i % count, lone: layers === 1 };
      heads.push({ ...place, rows, columns, query, key, values: own });
      start += rows * columns;
    }
  }
  return heads;
}

// An axis of joints x flows as joints or as flows; `group` says where each of its tokens goes.
function foldedAxis(axis, how) {
  const flows = axis.flows.length;
  if (how === "none" || !flows) return { axis, group: axis.labels.map((_, i) => i) };
  const labels = how === "joint" ? axis.joints : axis.flows;
  const group = axis.labels.map((_, i) => (how === "joint" ? Math.floor(i / flows) : i % flows));
  return { axis: { kind: how, labels, grid: null, joints: [], flows: [] }, group };
}

// The mean over a group of equal keys is again a multiple of uniform, over groups.
function folded(head, how) {
  const query = foldedAxis(head.query, how);
  const key = foldedAxis(head.key, how);
  const rows = query.axis.labels.length;
  const columns = key.axis.labels.length;
  if (rows === head.rows && columns === head.columns) return head;
  const sums = new Float32Array(rows * columns);
  const counts = new Float32Array(rows * columns);
  head.values.forEach((value, i) => {
    if (Number.isNaN(value)) return;
    const row = query.group[Math.floor(i / head.columns)];
    const at = row * columns + key.group[i % head.columns];
    sums[at] += value;
    counts[at] += 1;
  });
  const values = sums.map((sum, i) => sum / counts[i]);
  return { ...head, rows, columns, query: query.axis, key: key.axis, values };
}

function compared(head, { values: against }, kind) {
  const ratio = (value, i) => Math.max(value, TINY) / Math.max(against[i], TINY);
  const change = kind === "ratio" ? ratio : (value, i) => value - against[i];
  return { ...head, values: head.values.map(change) };
}

function rowOf(head, index, inward) {
  if (!inward) return head.values.subarray(index * head.columns, (index + 1) * head.columns);
  return Float32Array.from({ length: head.rows }, (_, r) => head.values[r * head.columns + index]);
}

const known = values => values.filter(v => !Number.isNaN(v)).length;
const mean = values => values.reduce((sum, v) => sum + v, 0) / values.length;

function eachRow(head, measure) {
  return mean(Array.from({ length: head.rows }, (_, r) => measure(rowOf(head, r, false), r)));
}

// Entropy of the rows, 1 where all keys get the same.
function entropy(head) {
  return eachRow(head, row => {
    const keys = known(row);
    const terms = row.map(t => (t > 0 ? -(t / keys) * Math.log(t / keys) : 0));
    return keys > 1 ? terms.reduce((a, b) => a + b, 0) / Math.log(keys) : 1;
  });
}

// Correlation of what is off the diagonal with the matrix of bones.
function likeness(head, edges) {
  const bones = new Set(edges.flatMap(([a, b]) => [`${a},${b}`, `${b},${a}`]));
  const pairs = [];
  head.values.forEach((value, i) => {
    const [r, c] = [Math.floor(i / head.columns), i % head.columns];
    if (r !== c && !Number.isNaN(value)) pairs.push([value, bones.has(`${r},${c}`) ? 1 : 0]);
  });
  const [x, y] = [0, 1].map(k => pairs.map(pair => pair[k]));
  const [mx, my] = [mean(x), mean(y)];
  const covariance = mean(pairs.map(([a, b]) => (a - mx) * (b - my)));
  const spread = (v, m) => Math.sqrt(mean(v.map(a => (a - m) ** 2)));
  return covariance / (spread(x, mx) * spread(y, my) || 1);
}

// Share of the weight that goes elsewhere than in the reference.
function moved(head, reference) {
  return eachRow(head, (row, r) => {
    const other = rowOf(reference, r, false);
    const gaps = row.map((t, i) => (Number.isNaN(t) ? 0 : Math.abs(t - other[i])));
    return gaps.reduce((a, b) => a + b, 0) / (2 * known(row) || 1);
  });
}

function placeOf(value, kind, scale) {
  return clip(kind === "difference" ? value / scale.difference : Math.log2(value) / scale.log2);
}

function strength(value, kind) {
  if (Number.isNaN(value)) return -1;
  if (kind === "times") return value;
  return Math.abs(kind === "ratio" ? Math.log2(value) : value);
}

// A token by itself: a bare number says of what.
function nameOf(axis, index) {
  const label = axis.labels[index];
  return /^\d+$/.test(label) ? `${axis.kind} ${label}` : label;
}

function inWords(value, kind) {
  if (Number.isNaN(value)) return "forbidden";
  if (kind === "ratio") return `${number(value)} : 1`;
  return `${kind === "difference" && value > 0 ? "+" : ""}${number(value)}x`;
}

// Rows of a table.
function rowsOf(head, kind) {
  const what = { times: "times uniform", difference: "difference of times uniform" };
  const rows = head.query.labels.map((label, r) => [label, ...rowOf(head, r, false)]);
  return [[what[kind] || kind, ...head.key.labels], ...rows];
}
