// Package mmap maps files into memory for reading, and makes that safe to live with.
//
// A mapping shares the page cache with whoever writes the file by pwrite, so a reader sees a write as soon as it has
// returned, without a copy. It is never stored through. Three things can go wrong, and each has its tool here:
//
//   - A page that cannot be had (the file was cut short by somebody else, the disk failed) is a signal that kills the
//     process. Guard turns it into a *FaultError for the goroutine that touched it.
//   - A page that is not in memory stops an operating system thread, and with it a share of the Go scheduler. Populate
//     brings a range in first, by a system call that the scheduler knows how to work around.
//   - Memory that has been unmapped is not to be touched again. A Mapping counts those who look at it and unmaps
//     when the last has gone; never from a finalizer.
//
// The kernel limits how many mappings a process may have (65,530 on Linux by default), so a Budget counts them.
//
// Linux and macOS are supported. Elsewhere Map returns errors.ErrUnsupported and the caller reads by pread.
package mmap
