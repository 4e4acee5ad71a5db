/** What the emulator's command line means. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Layer } from "effect"
import { Print, read, usage } from "../../src/internal/emulator/Command.js"
import { on } from "./Harness.js"

const folder = mkdtempSync(join(tmpdir(), "millrace-command-"))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (content: unknown) => {
  const path = join(folder, "emulator.json")
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content))
  return path
}

const command = (...args: ReadonlyArray<string>) => {
  const asked = read(["emulator", ...args])
  if (asked instanceof Print) throw new Error(asked.text)
  return asked
}
const refused = (...args: ReadonlyArray<string>) => {
  const asked = read(["emulator", ...args])
  return asked instanceof Print && asked.failed ? asked.text : "nothing wrong"
}

describe("millrace-sqs emulator", () => {
  it("alone is the layers' defaults", () => {
    expect(command()).toEqual({ emulator: { queues: {} }, http: {} })
  })
  it("prints what it can, and fails where it was not asked right", () => {
    expect(read(["emulator", "--help"])).toEqual(new Print(usage, false))
    expect(read(["--help"])).toEqual(new Print(usage, false))
    for (const args of [[], ["serve"], ["emulator", "twice"]]) expect(read(args)).toEqual(new Print(usage, true))
    expect(refused("--nonsense")).toContain("--nonsense")
    expect(refused("--port", "many")).toContain("--port must be from 0 (a free one) to 65535, not many.")
  })
  it.effect("makes queues with attributes, tags and a dead-letter queue", () => {
    const { emulator, http } = command(
      ...["--port", "0", "--host", "0.0.0.0", "--allow-host", "sqs.example.com", "--no-waits"],
      ...["--account", "123456789012", "--region", "eu-west-1", "--queue", "jobs.fifo,ContentBasedDeduplication=True"],
      ...["--queue", "orders,VisibilityTimeout=60,deadLetter=orders-dlq,maxReceiveCount=5,tag.team=a=b,tag.x="]
    )
    expect(http).toEqual({ port: 0, host: "0.0.0.0", allowedHosts: ["sqs.example.com"] })
    return Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) =>
      Effect.gen(function* () {
        const orders = on(sqs, "orders")
        expect(orders.QueueUrl).toContain("/123456789012/orders")
        expect(yield* orders.get("VisibilityTimeout", "RedrivePolicy", "QueueArn")).toEqual({
          VisibilityTimeout: "60",
          QueueArn: "arn:aws:sqs:eu-west-1:123456789012:orders",
          RedrivePolicy: '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:orders-dlq","maxReceiveCount":5}'
        })
        expect(yield* sqs.client.listQueueTags({ QueueUrl: orders.QueueUrl })).toEqual({ team: "a=b", x: "" })
        expect(yield* on(sqs, "jobs.fifo").get("ContentBasedDeduplication")).toEqual({
          ContentBasedDeduplication: "true"
        })
        yield* orders.purge
        yield* orders.purge
      })
    ).pipe(Effect.provide(SqsEmulator.layer(emulator)))
  })
  it("says what is wrong with a queue", () => {
    expect(refused("--queue", "a,b")).toContain('--queue a,b: write key=value, not "b".')
    expect(refused("--queue", "a,=b")).toContain("write key=value")
    expect(refused("--queue", "a,deadLetter=b")).toContain("deadLetter and maxReceiveCount go together")
    expect(refused("--queue", "a,deadLetter=b,maxReceiveCount=few")).toContain("maxReceiveCount is a whole number")
  })
  it("reads a file, of which the command line says again what it likes", () => {
    const config = file({
      port: 1,
      host: "0.0.0.0",
      allowedHosts: ["a.example"],
      maxConnections: 5,
      region: "eu-west-1",
      accountId: "123456789012",
      waits: false,
      latency: "5 millis",
      queues: {
        a: {
          visibilityTimeout: "1 minute",
          deadLetter: { queue: "dlq", maxReceiveCount: 3 },
          attributes: { DelaySeconds: "5" },
          tags: { x: "y" }
        },
        b: {}
      }
    })
    const asked = command("--config", config, "--port", "2", "--region", "us-west-2", "--queue", "b,DelaySeconds=1")
    expect(asked.http).toEqual({ port: 2, host: "0.0.0.0", allowedHosts: ["a.example"], maxConnections: 5 })
    expect(asked.emulator).toEqual({
      region: "us-west-2",
      accountId: "123456789012",
      waits: false,
      latency: "5 millis",
      queues: {
        a: {
          visibilityTimeout: "1 minute",
          deadLetter: { queue: "dlq", maxReceiveCount: 3 },
          attributes: { DelaySeconds: "5" },
          tags: { x: "y" }
        },
        b: { attributes: { DelaySeconds: "1" }, tags: {} }
      }
    })
  })
  it.scoped("says where a file is wrong", () =>
    Effect.gen(function* () {
      expect(refused("--config", join(folder, "none.json"))).toContain("no such file")
      expect(refused("--config", file("{"))).toContain("emulator.json: Expected property name")
      expect(refused("--config", file([]))).toContain("emulator.json: write an object of options.")
      // What is in it, the layers check.
      const { emulator, http } = command(
        "--config",
        file({ regoin: "x", prot: 1, queues: { a: { dely: "1 second" } } })
      )
      const { message } = yield* Effect.flip(Layer.build(SqsEmulator.layer(emulator)))
      expect(message).toBe("regoin is not an option of SqsEmulator; did you mean region?")
      expect(http).not.toHaveProperty("prot")
    })
  )
})
