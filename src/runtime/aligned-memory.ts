/** The part of WebAssembly.Memory that is used here; its types come with no library that this project has. */
interface PagedMemory {
  readonly buffer: ArrayBuffer;
}

const PAGE_BYTES = 64 * 1024;

/**
 * Zeroed memory whose address is a multiple of 4 KiB, as O_DIRECT wants it: Buffers have no such promise, the memory of a
 * WebAssembly instance always starts a page of the system. It reserves address space of several GiB: make few of them.
 */
export function alignedMemory(bytes: number): Uint8Array {
  const { Memory } = (
    globalThis as unknown as {
      readonly WebAssembly: { readonly Memory: new (size: { initial: number }) => PagedMemory };
    }
  ).WebAssembly;
  return new Uint8Array(new Memory({ initial: Math.ceil(bytes / PAGE_BYTES) }).buffer, 0, bytes);
}
