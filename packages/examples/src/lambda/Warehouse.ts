/** What stands behind the function: a warehouse that takes 10 to 60 ms an order, and is busy now and then. */
import { Context, Data, Effect, Layer } from "effect"
import type { Order } from "./Orders.js"

/** Will be so tomorrow too. */
export class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly message: string }> {}

export class Busy extends Data.TaggedError("Busy")<{ readonly message: string }> {}

export class Warehouse extends Context.Tag("examples/lambda/Warehouse")<
  Warehouse,
  { readonly ship: (order: Order) => Effect.Effect<void, OutOfStock | Busy> }
>() {}

/** What was shipped by this process, by its order's number, for the program to look at. */
export const shipped = new Map<number, number>()

const asked = new Set<number>()

const ship = ({ id, item }: Order) =>
  Effect.gen(function* () {
    yield* Effect.sleep(10 + ((id * 7) % 50))
    if (item === "unicorn") return yield* new OutOfStock({ message: "there are no unicorns" })
    if (id % 10 === 7 && !asked.has(id)) {
      asked.add(id)
      return yield* new Busy({ message: "come again" })
    }
    shipped.set(id, (shipped.get(id) ?? 0) + 1)
  })

export const layer = Layer.succeed(Warehouse, { ship })
