/** The runtime that a consumer or a producer lives in: its client, and its logger. */
import type { SQSClient } from "@aws-sdk/client-sqs"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as SqsClient from "@millrace/sqs/SqsClient"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Log from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import type { ConnectionOptions, Credentials, EmulatedClient, Logger } from "../types.js"

const secret: InvalidOptions.Check = { ...InvalidOptions.text, secret: true }

/** What the SDK's credentials may carry too; it writes `$source` into the very object that it was given. */
interface OfTheSdk {
  readonly expiration?: unknown
  readonly accountId?: unknown
  readonly credentialScope?: unknown
  readonly $source?: unknown
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<ConnectionOptions> = {
  client: InvalidOptions.either(InvalidOptions.having("an SQSClient of @aws-sdk/client-sqs", "send", "config"), {
    write: "the client of an emulator() of @millrace/promise/testing",
    fits: (value) => value instanceof Emulated
  }),
  region: InvalidOptions.text,
  endpoint: InvalidOptions.url,
  credentials: {
    ...InvalidOptions.fields<Credentials & OfTheSdk>({
      accessKeyId: InvalidOptions.required(InvalidOptions.text),
      secretAccessKey: InvalidOptions.required(secret),
      sessionToken: secret,
      expiration: InvalidOptions.checkedBelow,
      accountId: InvalidOptions.checkedBelow,
      credentialScope: InvalidOptions.checkedBelow,
      $source: InvalidOptions.checkedBelow
    }),
    write:
      "an object with accessKeyId, secretAccessKey and, where there is one, sessionToken; for a provider of them client: new SQSClient({ credentials, maxAttempts: 1 })"
  },
  maxSockets: InvalidOptions.aWholeNumber({ min: 1 }),
  logger: InvalidOptions.either(
    { write: "false", fits: (value) => value === false },
    InvalidOptions.having("an object such as console", "debug", "info", "warn", "error")
  )
}

/** The client of an emulator, for as long as that is open. */
export class Emulated implements EmulatedClient {
  readonly emulated = true
  readonly #service: SqsClient.Service

  constructor(service: SqsClient.Service) {
    this.#service = service
  }

  static layer(client: Emulated): Layer.Layer<SqsClient.SqsClient> {
    return Layer.succeed(SqsClient.SqsClient, client.#service)
  }
}

const isSdk = (client: SQSClient | EmulatedClient): client is SQSClient => "send" in client

const clientLayer = (options: ConnectionOptions): Layer.Layer<SqsClient.SqsClient, unknown> => {
  const { client, credentials, endpoint, maxSockets, region } = options
  if (client instanceof Emulated) return Emulated.layer(client)
  if (client !== undefined && isSdk(client)) return SqsClient.layerFrom(client)
  const given = credentials && {
    accessKeyId: credentials.accessKeyId,
    secretAccessKey: Redacted.make(credentials.secretAccessKey),
    sessionToken: credentials.sessionToken === undefined ? undefined : Redacted.make(credentials.sessionToken)
  }
  return SqsClient.layerConfig({
    region: region === undefined ? SqsClient.configuredRegion : Config.succeed(region),
    endpoint: endpoint === undefined ? SqsClient.configuredEndpoint : Config.succeed(endpoint),
    credentials: Config.succeed(given),
    maxSockets: Config.succeed(maxSockets)
  })
}

const loggerLayer = (logger: Logger | false | undefined): Layer.Layer<never> => {
  if (logger === undefined) return Layer.empty
  if (logger === false) return Log.remove(Log.defaultLogger)
  const toPlain = Log.make<unknown, void>(({ annotations, cause, logLevel, message }) => {
    const parts = (Array.isArray(message) ? message : [message]).map((part) => Inspectable.toStringUnknown(part))
    for (const [name, value] of annotations) parts.push(`${name}=${Inspectable.toStringUnknown(value)}`)
    if (!Cause.isEmpty(cause)) parts.push(Cause.pretty(cause))
    const line = parts.join(" ")
    switch (logLevel._tag) {
      case "Fatal":
      case "Error":
        return logger.error(line)
      case "Warning":
        return logger.warn(line)
      case "Info":
        return logger.info(line)
      default:
        return logger.debug(line)
    }
  })
  return Log.replace(Log.defaultLogger, toPlain)
}

export type Connection = ManagedRuntime.ManagedRuntime<SqsClient.SqsClient, unknown>

export const connect = (options: ConnectionOptions): Connection =>
  ManagedRuntime.make(Layer.mergeAll(clientLayer(options), loggerLayer(options.logger)))
