/** What `npm run diagnose -- alarms|throttle|scaling|adaptive` prints: how the controls do over seeds. */
import * as Alarms from "./Alarms.js"
import { mean, quantile } from "./Counts.js"
import * as Fleet from "./Fleet.js"
import * as Producers from "./Producers.js"
import * as Slots from "./Slots.js"

type Say = (text: string) => void
export interface Asked {
  readonly seeds: ReadonlyArray<number>
  readonly name: string
  readonly say: Say
}

const alarms = ({ name, say, seeds }: Asked) => {
  say(`${"Alarms, in six hours each".padEnd(34)} runs  missed  untrue  seen after, median and at most`)
  for (const one of Alarms.names.filter((each) => each.includes(name))) {
    const heard = seeds.map((seed) => Alarms.heard(one, seed))
    const after = heard.flatMap((run) => run.after)
    const count = (of: (run: Alarms.Heard) => ReadonlyArray<string>) =>
      String(heard.filter((run) => of(run).length > 0).length).padStart(6)
    const took = after.length === 0 ? "" : `${quantile(after, 0.5).toFixed(0)} s  ${Math.max(...after).toFixed(0)} s`
    say(
      `${one.padEnd(34)} ${String(heard.length).padStart(4)}  ${count((run) => run.missed)}  ${count((run) => run.untrue)}  ${took}`
    )
    for (const { missed, seed, untrue } of heard) {
      if (missed.length + untrue.length > 0)
        say(`  seed ${seed}: missed ${missed.join(", ")}; untrue ${untrue.join(", ")}`)
    }
  }
}

const throttle = ({ name, say, seeds }: Asked) => {
  say(
    "Throttles: what waits, in parts of the target: mean over all seeds, of the least and the most of them; highest peak"
  )
  for (const way of Producers.ways.filter((each) => each.includes(name))) {
    for (let producers = 1; producers <= 8; producers++) {
      const kept = seeds.map((seed) => Producers.kept(way, producers, seed))
      const means = kept.map((run) => run.mean)
      const figures = [mean(means), Math.min(...means), Math.max(...means), Math.max(...kept.map(({ peak }) => peak))]
      say(`${way.padEnd(10)} ${producers}  ${figures.map((figure) => figure.toFixed(2)).join("  ")}`)
    }
  }
}

const scaling = ({ name, say, seeds }: Asked) => {
  say("Scaling: consumers on average, turns an hour, seconds of arrivals that wait: on average, and at most in 99 %")
  for (const load of Fleet.names.filter((each) => each.includes(name))) {
    say(load)
    for (const leader of Fleet.leaders) {
      const led = seeds.map((seed) => Fleet.led(leader, load, seed))
      const figures = [
        mean(led.map(({ running }) => running)).toFixed(1),
        mean(led.map(({ turns }) => turns)).toFixed(2),
        mean(led.map(({ waited }) => waited)).toFixed(0),
        mean(led.map(({ waitedLong }) => waitedLong)).toFixed(0)
      ]
      say(`  ${leader.padEnd(20)} ${figures.map((figure) => figure.padStart(6)).join("")}`)
    }
  }
}

const adaptive = ({ name, say, seeds }: Asked) => {
  say(
    `${"Adaptive, of the best fixed".padEnd(28)} done  least   p99  at most  failed  Jain  least  minutes until 80 %, median, most`
  )
  for (const one of Slots.names.filter((each) => each.includes(name))) {
    const found = seeds.map((seed) => Slots.found(one, seed))
    const of = (figure: keyof Slots.Found) => found.map((run) => run[figure])
    const figures = [
      mean(of("done")).toFixed(2),
      Math.min(...of("done")).toFixed(2),
      mean(of("tail")).toFixed(2),
      Math.max(...of("tail")).toFixed(2),
      mean(of("failed")).toFixed(3),
      mean(of("fair")).toFixed(2),
      Math.min(...of("fair")).toFixed(2),
      quantile(of("after"), 0.5).toFixed(0),
      Math.max(...of("after")).toFixed(0)
    ]
    say(`${one.padEnd(26)} ${figures.map((figure) => figure.padStart(6)).join("")}`)
  }
}

export const tables: Readonly<Record<string, (asked: Asked) => void>> = { adaptive, alarms, scaling, throttle }
