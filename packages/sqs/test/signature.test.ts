import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import * as Signature from "../src/internal/wire/signature.js"

/** What the SDK's own signer writes for the same request, time and credentials. */
const bySdk = (request: Signature.Signable, credentials: Signature.Credentials, region: string, millis: number) =>
  Effect.promise(async () => {
    const client = new SQSClient({ region, credentials: { ...credentials }, applyChecksum: false } as object)
    const signer = await client.config.signer()
    const headers = { ...request.headers }
    const signed = await signer.sign(
      {
        protocol: "https:",
        hostname: headers["host"] ?? "",
        method: "POST",
        path: "/",
        query: {},
        headers,
        body: request.body
      },
      // The SDK signs all headers that it may; SigV4 asks for the host and those of AWS.
      {
        signingDate: DateTime.toDateUtc(DateTime.unsafeMake(millis)),
        unsignableHeaders: new Set(["content-length", "x-amzn-query-mode", "x-amz-content-sha256"])
      }
    )
    client.destroy()
    return signed.headers
  })

const at = (time: string) => DateTime.unsafeMake(time).epochMillis

const request = (body: string | Uint8Array, host = "sqs.eu-west-3.amazonaws.com"): Signature.Signable => ({
  headers: {
    "content-type": "application/x-amz-json-1.0",
    "content-length": String(body.length),
    "x-amz-target": "AmazonSQS.SendMessage",
    "x-amzn-query-mode": "true",
    "user-agent": "aws-sdk-js/3",
    host
  },
  body
})

describe("signature", () => {
  it.effect("is the one that the SDK's signer writes, over days, regions, keys, tokens and bodies", () =>
    Effect.gen(function* () {
      const sign = Signature.make()
      const day = at("2026-11-22T00:00:00.001Z")
      const key = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }
      const cases: ReadonlyArray<readonly [Signature.Signable, Signature.Credentials, string, number]> = [
        [request("{}"), key, "eu-west-3", day],
        [request('{"MessageBody":"héllo"}'), key, "eu-west-3", day],
        [request(new TextEncoder().encode('{"MessageBody":"héllo"}')), key, "eu-west-3", day],
        [request("{}"), { ...key, sessionToken: "a/token+of==" }, "eu-west-3", day],
        [request("{}", "localhost:4566"), key, "us-east-1", day],
        [request("{}"), { ...key, secretAccessKey: "another" }, "us-east-1", day],
        [request("{}"), key, "us-east-1", at("2026-11-23T23:59:59.999Z")],
        [request("{}"), key, "us-east-1", day]
      ]
      for (const [one, credentials, region, millis] of cases) {
        const expected = yield* bySdk(one, credentials, region, millis)
        sign(one, credentials, region, millis)
        assert.strictEqual(one.headers["authorization"], expected["authorization"])
        assert.strictEqual(one.headers["x-amz-date"], expected["x-amz-date"])
        assert.strictEqual(one.headers["x-amz-security-token"], expected["x-amz-security-token"])
      }
    })
  )
})
