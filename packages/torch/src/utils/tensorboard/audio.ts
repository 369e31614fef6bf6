/** Sound as a WAV file of 16 bits. */
import { Buffer } from "node:buffer";
import { Message } from "../../io/protobuf.js";

/** `Summary.Audio` of one channel; what is beyond -1 … 1 is cut off. */
export function audioOf(samples: Float64Array, sampleRate: number): Message {
  const data = Buffer.alloc(44 + 2 * samples.length);
  data.write("RIFF", 0, "latin1");
  data.writeUInt32LE(36 + 2 * samples.length, 4);
  data.write("WAVEfmt ", 8, "latin1");
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20); // plain numbers
  data.writeUInt16LE(1, 22); // channels
  data.writeUInt32LE(sampleRate, 24);
  data.writeUInt32LE(2 * sampleRate, 28);
  data.writeUInt16LE(2, 32);
  data.writeUInt16LE(16, 34);
  data.write("data", 36, "latin1");
  data.writeUInt32LE(2 * samples.length, 40);
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] as number;
    data.writeInt16LE(Number.isNaN(value) ? 0 : Math.trunc(Math.max(-1, Math.min(1, value)) * 32767), 44 + 2 * i);
  }
  return new Message().float(1, sampleRate).int(2, 1).int(3, samples.length).bytes(4, data).text(5, "audio/wav");
}
