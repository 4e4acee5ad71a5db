/** The examples for programs of promises: each starts, handles messages, and ends. */
// @effect-diagnostics globalDate:off globalTimers:off
import "reflect-metadata"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { type Emulator, emulator, passTime } from "@millrace/promise/testing"
import { NestFactory } from "@nestjs/core"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import * as Shop from "../src/express/Shop.js"
import { Fulfilment, ordersModule } from "../src/nest/OrdersModule.js"

const sqsOf = () => emulator({ queues: { orders: { deadLetter: { queue: "dead", maxReceiveCount: 10 } } } })

let sqs: Emulator

beforeEach(async () => {
  // Sockets go on as they do: what is faked is the time that consumers see.
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"] })
  sqs = await sqsOf()
})

afterEach(async () => {
  await sqs.close()
  vi.useRealTimers()
})

it("express: an order that is posted is fulfilled, a malformed one is refused, and the probe is asked", async () => {
  const fulfilled: Array<Shop.Order> = []
  const shop = await passTime(
    vi,
    Shop.make({ client: sqs.client, logger: false }, async (order) => {
      fulfilled.push(order)
      if (fulfilled.length === 1) throw new Error("not yet")
    })
  )
  const server = shop.app.listen(0, "127.0.0.1")
  await once(server, "listening")
  const home = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const post = (order: unknown) =>
    passTime(
      vi,
      fetch(`${home}/orders`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(order)
      })
    )
  expect((await post({ id: "a", quantity: 1 })).status).toBe(202)
  expect((await post({ id: "b", quantity: 0 })).status).toBe(400)
  await passTime(vi, sqs.settled("orders", 1))
  expect(fulfilled).toEqual([
    { id: "a", quantity: 1 },
    { id: "a", quantity: 1 }
  ])
  expect(await (await passTime(vi, fetch(`${home}/health`))).json()).toMatchObject({ healthy: true, paused: false })
  server.closeAllConnections()
  server.close()
  await passTime(vi, shop.close())
  expect(await sqs.snapshot("orders")).toMatchObject({ sent: 1, deleted: 1, inFlight: 0 })
})

it("nest: the consumer starts with the application and stops with it", async () => {
  const make = NestFactory.createApplicationContext(ordersModule({ client: sqs.client, logger: false }), {
    logger: false
  })
  const app = await passTime(vi, make)
  await sqs.send("orders", [{ id: "a", quantity: 1 }])
  await passTime(vi, sqs.settled("orders", 1))
  expect(app.get(Fulfilment).done).toEqual([{ id: "a", quantity: 1 }])
  await passTime(vi, app.close())
  const { receives } = await sqs.snapshot("orders")
  await sqs.send("orders", [{ id: "b", quantity: 1 }])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(await sqs.snapshot("orders")).toMatchObject({ receives, visible: 1 })
})

it("plain JavaScript: it runs as it stands, and what failed comes again", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {})
  // A module is loaded in real time, which on a busy machine is any time.
  await passTime(
    vi,
    import(new URL("../plain-javascript/main.mjs", import.meta.url).pathname),
    Number.POSITIVE_INFINITY
  )
  const lines = log.mock.calls.map(([line]) => String(line)).filter((line) => !line.startsWith("timestamp="))
  log.mockRestore()
  expect(lines.slice(0, -1).sort()).toEqual([
    "attempt 1 failed: not yet",
    "fulfilled: order a, attempt 1",
    "fulfilled: order b, attempt 2",
    "fulfilled: order c, attempt 1"
  ])
  expect(lines.at(-1)).toMatch(/^stopped: \d finished, 0 given back$/)
})
