declare module "fs-native-extensions" {
  /** fcntl(F_OFD_SETLK) on Linux, flock on macOS, over the whole file; false when another open file holds it. */
  export function tryLock(fd: number): boolean;
}
