//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import "golang.org/x/sys/unix"

// retry repeats what a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
