// How a test drives a script: it says steps on standard input, one JSON object a line ({"id", "step", "with"}), and is
// answered on standard output ({"id", "answer"} or {"id", "error"}). The script ends when its standard input does.
import { createInterface } from 'node:readline'

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

// `steps` are async functions by their names; `failed` may leave something behind for whoever looks into a failure.
export function serve(steps, { failed, end } = {}) {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    const { id, step, with: given } = JSON.parse(line)
    try {
      if (!steps[step]) throw new Error(`there is no step ${step}`)
      say({ id, answer: (await steps[step](given ?? {})) ?? null })
    } catch (error) {
      const more = await Promise.resolve(failed?.(step, error)).catch((second) => `nothing left behind: ${second}`)
      say({ id, error: `${step}: ${error?.stack ?? JSON.stringify(error)}${more ? `\n${more}` : ''}` })
    }
  })
  lines.on('close', async () => {
    await Promise.resolve(end?.()).catch(() => {})
    process.exit(0)
  })
  say({ ready: true })
}
