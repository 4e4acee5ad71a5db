/** What `millrace-sqs emulator` is told, on the command line and in a file, as the options of the emulator's layers. */
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import type * as SqsEmulator from "../../emulator/SqsEmulator.js"
import type * as SqsHttp from "../../emulator/SqsHttp.js"

export const usage = `Usage: millrace-sqs emulator [options]

  --queue name[,key=value]...
               a queue to start with, as often as there are queues; a name with .fifo makes a FIFO queue. A key is
               an attribute by AWS's name, deadLetter (a queue, made if need be) with maxReceiveCount, or tag.<key>:
               --queue orders,VisibilityTimeout=60,deadLetter=orders-dlq,maxReceiveCount=5
  --config file
               options in JSON: those of SqsEmulator.layer and SqsHttp.layer; what the command line says comes first
  --port       where to listen; 0 picks a free port (9324)
  --host       the address to listen on; 0.0.0.0 lets other machines in (127.0.0.1)
  --allow-host a name in requests' Host that is welcome beside localhost, addresses and names without a dot
  --account    the account in queue URLs and ARNs (000000000000)
  --region     the region in ARNs (us-east-1)
  --no-waits   purge again, and create a deleted queue again, without waiting for 60 seconds as in AWS
  --help       this text`

export interface Command {
  readonly emulator: SqsEmulator.Options
  readonly http: SqsHttp.Options
}

/** What to print instead. */
export class Print {
  readonly text: string
  readonly failed: boolean
  constructor(text: string, failed: boolean) {
    this.text = text
    this.failed = failed
  }
}

const wrong = (problem: string): Print => new Print(`${problem}\n\n${usage}`, true)

/** The options of both layers, which check them: names, types and values. */
const readFile = (path: string): SqsEmulator.Options & SqsHttp.Options => {
  try {
    const content: unknown = JSON.parse(readFileSync(path, "utf8"))
    if (typeof content === "object" && content !== null && !Array.isArray(content)) return content
  } catch (cause) {
    throw new Print(`--config ${path}: ${cause instanceof Error ? cause.message : cause}`, true)
  }
  throw new Print(`--config ${path}: write an object of options.`, true)
}

// The command line

const readQueue = (text: string): readonly [name: string, options: SqsEmulator.QueueOptions] => {
  const [name = "", ...settings] = text.split(",")
  const attributes: Array<[string, string]> = []
  const tags: Array<[string, string]> = []
  let queue: string | undefined
  let count: string | undefined
  for (const setting of settings) {
    const equals = setting.indexOf("=")
    if (equals < 1) throw wrong(`--queue ${text}: write key=value, not ${JSON.stringify(setting)}.`)
    const key = setting.slice(0, equals)
    const value = setting.slice(equals + 1)
    if (key === "deadLetter") queue = value
    else if (key === "maxReceiveCount") count = value
    else if (key.startsWith("tag.")) tags.push([key.slice("tag.".length), value])
    else attributes.push([key, value])
  }
  if ((queue === undefined) !== (count === undefined)) {
    throw wrong(`--queue ${text}: deadLetter and maxReceiveCount go together, as in deadLetter=dlq,maxReceiveCount=5.`)
  }
  if (count !== undefined && !/^\d+$/.test(count)) throw wrong(`--queue ${text}: maxReceiveCount is a whole number.`)
  return [
    name,
    {
      attributes: Object.fromEntries(attributes),
      tags: Object.fromEntries(tags),
      ...(queue === undefined ? {} : { deadLetter: { queue, maxReceiveCount: Number(count) } })
    }
  ]
}

const arguments_ = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        port: { type: "string" },
        host: { type: "string" },
        "allow-host": { type: "string", multiple: true },
        account: { type: "string" },
        region: { type: "string" },
        queue: { type: "string", multiple: true },
        config: { type: "string" },
        "no-waits": { type: "boolean" },
        help: { type: "boolean" }
      }
    })
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : String(cause))
  }
}

/** Throws `Print`. */
const commandOf = (args: ReadonlyArray<string>): Command => {
  const { positionals, values } = arguments_(args)
  if (values.help === true) throw new Print(usage, false)
  if (positionals.length !== 1 || positionals[0] !== "emulator") throw new Print(usage, true)
  const file = values.config === undefined ? {} : readFile(values.config)
  const { allowedHosts, host, maxConnections, port, ...emulator } = file
  const welcome = values["allow-host"]
  if (values.port !== undefined && !/^\d+$/.test(values.port)) {
    throw wrong(`--port must be from 0 (a free one) to 65535, not ${values.port}.`)
  }
  return {
    emulator: {
      ...emulator,
      accountId: values.account ?? emulator.accountId,
      region: values.region ?? emulator.region,
      waits: values["no-waits"] === true ? false : emulator.waits,
      queues: { ...emulator.queues, ...Object.fromEntries((values.queue ?? []).map(readQueue)) }
    },
    http: {
      port: values.port === undefined ? port : Number(values.port),
      host: values.host ?? host,
      maxConnections,
      allowedHosts: welcome === undefined ? allowedHosts : [...(allowedHosts ?? []), ...welcome]
    }
  }
}

/** What was asked for, or what to print instead. */
export const read = (args: ReadonlyArray<string>): Command | Print => {
  try {
    return commandOf(args)
  } catch (thrown) {
    if (thrown instanceof Print) return thrown
    throw thrown
  }
}
