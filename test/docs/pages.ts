import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../../", import.meta.url))

/** A fenced block of a page: `line` is where its code begins, counted from 0. */
export interface Block {
  readonly language: string
  readonly code: string
  readonly line: number
}

export interface Page {
  /** From the repository's root, with "/". */
  readonly path: string
  readonly text: string
  readonly blocks: ReadonlyArray<Block>
}

const blocksOf = (text: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  let open: { readonly indent: string; readonly language: string; readonly line: number } | undefined
  const lines = text.split("\n")
  for (const [i, line] of lines.entries()) {
    const fence = /^(\s*)```(\w*)\s*$/.exec(line)
    if (fence === null) continue
    const [, indent = "", language = ""] = fence
    if (open === undefined) {
      open = { indent, language, line: i + 1 }
    } else {
      const { indent, language, line } = open
      const code = lines.slice(line, i).map((each) => (each.startsWith(indent) ? each.slice(indent.length) : each))
      blocks.push({ language, code: code.join("\n"), line })
      open = undefined
    }
  }
  return blocks
}

const markdownIn = async (folder: string): Promise<ReadonlyArray<string>> => {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => [])
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md") && entry.name !== "CHANGELOG.md")
    .map(({ name }) => (folder === "" ? name : `${folder}/${name}`))
}

/** Every page that a reader of the repository may open. */
export const pages = async (): Promise<ReadonlyArray<Page>> => {
  const packages = await readdir(join(root, "packages"))
  const folders = ["", "docs", "docs/diagnosis", "benchmarks", ...packages.map((name) => `packages/${name}`)]
  const paths = (await Promise.all(folders.map(markdownIn))).flat()
  return Promise.all(
    paths.map(async (path) => {
      const text = (await readFile(join(root, path), "utf8")).replaceAll("\r\n", "\n")
      return { path, text, blocks: blocksOf(text) }
    })
  )
}
