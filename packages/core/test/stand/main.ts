/**
 * npm run diagnose: the diagnosis in scenarios of its stand, and its scores.
 *
 *   npm run diagnose -- --seeds 10 --from 1000 --only singles,mixtures,healthy,steady --name "a burst" --tell --exact
 *   npm run diagnose -- steady         each single cause for an hour in which nobody does anything
 *   npm run diagnose -- healthy 500    so many consumers that keep up
 *   npm run diagnose -- alarms --seeds 30    the controls by themselves: alarms, throttle, scaling, adaptive
 */
import { parseArgs } from "node:util"
import { tables } from "./controls/tables.js"
import { heading, healthyRun, hour, line, type Treated, treatMixture, treatSingle } from "./Exam.js"
import { exact, singles } from "./Scenarios.js"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "3" },
    from: { type: "string", default: "0" },
    /** Default: all of them, or what is said before the options. */
    only: { type: "string" },
    name: { type: "string" },
    /** Prints the stories of those that went wrong. */
    tell: { type: "boolean", default: false },
    all: { type: "boolean", default: false },
    /** Counts without lag and noise. */
    exact: { type: "boolean", default: false }
  }
})
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => Number(values.from) + i)
const [part, runs = 10 * seeds.length] = positionals
const parts = new Set((values.only ?? part ?? "singles,mixtures,healthy,steady").split(","))
const counting = values.exact ? exact : undefined
const names = singles.filter((name) => values.name === undefined || name.includes(values.name))
const say = (text: string) => process.stdout.write(`${text}\n`)

const tell = (one: Treated) => {
  const well = one.felt && one.right === one.looks && one.absent === 0 && one.curedAfter === 1 && one.harmed === 0
  const sized = one.ratios.every(([, ratio]) => ratio >= 0.8 && ratio <= 2.5)
  if (!values.all && (!values.tell || !one.felt || (well && sized))) return
  const ratios = one.ratios.map(([name, ratio]) => `${name} ${ratio.toFixed(2)}`).join(" ")
  say(
    `\n${one.name}, seed ${one.seed}: right ${one.right}/${one.looks}, absent ${one.absent}, cured ${one.curedAfter}, ${ratios}`
  )
  say(one.story.join("\n"))
}

const begun = performance.now()
for (const [name, table] of Object.entries(tables)) {
  if (parts.has(name)) table({ seeds, name: values.name ?? "", say })
}
if (parts.has("singles")) {
  say(`Single causes\n${heading}`)
  const all: Array<Treated> = []
  for (const name of names) {
    const treated = seeds.map((seed) => treatSingle(name, seed, counting))
    all.push(...treated)
    say(line(name, treated))
    treated.forEach(tell)
  }
  say(line("all", all))
}
if (parts.has("mixtures")) {
  say(`\nMixtures\n${heading}`)
  const all: Array<Treated> = []
  for (let n = 0; n < 10 * seeds.length; n++) {
    const one = treatMixture((seeds[0] ?? 0) * 10 + n, counting)
    all.push(one)
    tell(one)
  }
  say(line("all", all))
}
if (parts.has("healthy")) {
  let wrong = 0
  const count = Number(runs)
  for (let n = 0; n < count; n++) {
    const { seed, words } = healthyRun((seeds[0] ?? 0) * 10 + n, counting)
    if (words.length === 0) continue
    wrong++
    if (values.tell || values.all) say(`healthy, seed ${seed}:\n  ${words.join("\n  ")}`)
  }
  say(`\nHealthy: ${wrong} of ${count} runs with a false word`)
}
if (parts.has("steady")) {
  say("\nSteady hours: looks after two minutes that were right, that named what is absent")
  let looks = 0
  let right = 0
  let absent = 0
  for (const name of names) {
    for (const seed of seeds.slice(0, Math.max(1, Math.floor(seeds.length / 3)))) {
      const one = hour(name, seed, counting)
      looks += one.looks
      right += one.right
      absent += one.absent
      say(
        `${name.padEnd(40)} ${((100 * one.right) / one.looks).toFixed(1)} %  ${((100 * one.absent) / one.looks).toFixed(1)} %`
      )
      if (values.tell && one.right < 0.95 * one.looks) say(one.story.filter((_, i) => i % 8 === 0).join("\n"))
    }
  }
  say(`all${"".padEnd(38)}${((100 * right) / looks).toFixed(1)} %  ${((100 * absent) / looks).toFixed(1)} %`)
}
say(`\n${((performance.now() - begun) / 1000).toFixed(0)} s`)
