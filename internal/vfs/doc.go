// Package vfs is the file seam: the log reads and writes through FS and File, and nothing else.
//
//   - OS is the machine's file system, by raw system calls on the paths that are hot.
//   - Mem is a file system in memory, on the heap, so that the race detector sees what it cannot see in a mapping. It
//     serves stores without a disk. Made by NewCrashMem it also remembers what has not been synced, and makes crash
//     clones: file systems as they may be found after power was lost (CrashClone, EachCrash) or the process was killed
//     (KillClone).
//   - Fault wraps one of these and makes chosen operations fail, and calls a hook before every operation that changes
//     something, which is where crash loops take their clones.
//
// A crash loop is short:
//
//	mem := vfs.NewCrashMem(vfs.Strict)
//	fault := vfs.NewFault(mem)
//	fault.OnOp(func(vfs.Op) {
//		after := mem.CrashClone(rng)
//		reopen(after) // everything acknowledged so far must be there
//	})
//	workload(fault)
//
// The rules of the crash model stand at Profile.
package vfs
