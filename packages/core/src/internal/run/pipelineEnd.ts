/** Where a pipeline ends: the stage that settles, and the consumers that have it downstream. */
import * as Effect from "effect/Effect"
import { together } from "../effect/together.js"
import type { Downstream } from "../handOver/downstream.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import type { RunFork } from "./runFork.js"
import type { Work } from "./work.js"

/** The consumers whose pipeline ends in a stage. */
export class PipelineEnd {
  readonly #sources = new Set<Source<InFlight>>()

  of(source: Source<InFlight>): void {
    this.#sources.add(source)
    source.draining.endsIn(this)
  }

  readonly isOver: Effect.Effect<void> = Effect.suspend(() =>
    Effect.asVoid(together([...this.#sources].map(({ draining }) => draining.endIsOver(this))))
  )
}

/** What a stage adds to what its upstream is told. One that settles ends a pipeline: what is further down is another's. */
export const upstreamOf =
  <In, Out, R>(
    { onStart, slots: { tunable } }: Work<In, Out, R>,
    accepts: (source: Source<InFlight>) => boolean,
    end: PipelineEnd,
    runFork: RunFork<R>
  ) =>
  (further: Downstream): Downstream => {
    const own = tunable === undefined ? [] : [tunable]
    if (onStart === undefined) {
      return { onStart: (source) => accepts(source) && further.onStart(source), slots: [...own, ...further.slots] }
    }
    return {
      onStart: (source) => {
        if (!accepts(source)) return false
        end.of(source)
        onStart(source, runFork)
        return true
      },
      slots: own
    }
  }
