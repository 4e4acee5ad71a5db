/** Reads Prometheus' text format by its description, and refuses what a scrape would: written apart from what it tests. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly type: string
  readonly help: string | undefined
  readonly samples: ReadonlyArray<Sample>
}

const unescape = (text: string): string =>
  text.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c === "\\" || c === '"' ? c : fail(`escape \\${c}`)))

const fail = (what: string): never => {
  throw new Error(`not Prometheus text: ${what}`)
}

const valueOf = (text: string): number =>
  text === "+Inf"
    ? Number.POSITIVE_INFINITY
    : text === "-Inf"
      ? Number.NEGATIVE_INFINITY
      : text === "NaN" || Number.isFinite(Number(text))
        ? Number(text)
        : fail(`value ${text}`)

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

export const parse = (text: string): ReadonlyMap<string, Family> => {
  if (text !== "" && !text.endsWith("\n")) fail("no line feed at the end")
  const families = new Map<string, { type: string; help: string | undefined; samples: Array<Sample> }>()
  const seen = new Set<string>()
  let current: string | undefined
  let help: string | undefined
  for (const line of text.split("\n").slice(0, -1)) {
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line)
    if (meta !== null) {
      const [, kind, name = "", rest = ""] = meta
      if (kind === "HELP") {
        help = unescape(rest)
      } else {
        if (families.has(name)) fail(`two families ${name}`)
        if (suffixes[rest] === undefined) fail(`type ${rest}`)
        families.set(name, { type: rest, help, samples: [] })
        help = undefined
      }
      current = name
      continue
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? fail(line)
    const [, name = "", inner = "", value = ""] = sample
    const family = families.get(current ?? "") ?? fail(`${line} without a type`)
    if (!(suffixes[family.type] ?? []).some((suffix) => `${current}${suffix}` === name)) fail(`${name} in ${current}`)
    const labels: Record<string, string> = {}
    let rest = inner
    while (rest !== "") {
      const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(?:,|$)/.exec(rest) ?? fail(`labels ${inner}`)
      const [all, key = "", text = ""] = label
      if (labels[key] !== undefined) fail(`label ${key} twice`)
      labels[key] = unescape(text)
      rest = rest.slice(all.length)
    }
    const series = JSON.stringify([name, Object.entries(labels).sort()])
    if (seen.has(series)) fail(`${line} twice`)
    seen.add(series)
    family.samples.push({ name, labels, value: valueOf(value) })
  }
  for (const [name, { samples, type }] of families) if (type === "histogram") checkHistogram(name, samples)
  return families
}

/** Buckets grow with their ends, and the last, of all, is the count. */
const checkHistogram = (name: string, samples: ReadonlyArray<Sample>): void => {
  const byLabels = new Map<string, Array<Sample>>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(Object.entries(labels).sort())
    byLabels.set(key, [...(byLabels.get(key) ?? []), sample])
  }
  for (const series of byLabels.values()) {
    const buckets = series.filter((sample) => sample.name === `${name}_bucket`)
    const ends = buckets.map(({ labels }) => valueOf(labels["le"] ?? fail(`a bucket of ${name} without an end`)))
    if (ends.at(-1) !== Number.POSITIVE_INFINITY) fail(`${name} has no bucket of all`)
    for (let i = 1; i < buckets.length; i++) {
      if ((ends[i] ?? 0) <= (ends[i - 1] ?? 0)) fail(`the ends of ${name} do not grow`)
      if ((buckets[i]?.value ?? 0) < (buckets[i - 1]?.value ?? 0)) fail(`the buckets of ${name} are not cumulative`)
    }
    const count = series.find((sample) => sample.name === `${name}_count`)?.value
    if (count !== buckets.at(-1)?.value) fail(`the count of ${name} is not that of its buckets`)
  }
}
