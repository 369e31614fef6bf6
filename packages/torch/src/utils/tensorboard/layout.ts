/** Charts of several scalars, as TensorBoard's page "Custom Scalars" lays them out. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";
import { isPlain } from "../../realm.js";
import { metadataOf, stringTensor, summary } from "./summary.js";

/** Lines of several tags; or a line and, in the tags behind it, where its margin begins and ends. */
export type CustomChart = readonly [kind: "Multiline" | "Margin", tags: readonly string[]];
/** Charts by title, in categories by title. */
export type CustomLayout = Readonly<Record<string, Readonly<Record<string, CustomChart>>>>;

export function layoutSummary(fn: string, layout: CustomLayout): Message {
  const content = new Message();
  for (const [category, charts] of Object.entries(layout)) {
    if (!isPlain(charts)) throw new ArgumentError(fn, `layout of ${category} to be charts by title`, charts);
    const all = new Message().text(1, category);
    for (const [title, chart] of Object.entries(charts)) all.message(2, chartProto(fn, title, chart));
    content.message(2, all);
  }
  return summary([
    {
      tag: "custom_scalars__config__",
      content: { tensor: stringTensor([], content.done()) },
      metadata: metadataOf("custom_scalars"),
    },
  ]);
}

function chartProto(fn: string, title: string, chart: unknown): Message {
  const [kind, tags] = Array.isArray(chart) ? (chart as readonly unknown[]) : [];
  if (
    (kind !== "Multiline" && kind !== "Margin") ||
    !Array.isArray(tags) ||
    !tags.every((tag): tag is string => typeof tag === "string")
  )
    throw new ArgumentError(fn, `chart ${title} to be ["Multiline", tags] or ["Margin", [value, lower, upper]]`, chart);
  const proto = new Message().text(1, title);
  const content = new Message();
  if (kind === "Multiline") {
    for (const tag of tags) content.text(1, tag);
    return proto.message(2, content);
  }
  if (tags.length !== 3) throw new ArgumentError(fn, `chart ${title} to have three tags: value, lower, upper`, tags);
  const series = new Message();
  tags.forEach((tag, i) => series.text(i + 1, tag));
  return proto.message(3, content.message(1, series));
}
