//go:build unix

package main

import (
	"syscall"
	"time"
)

// pauses stop a process as a debugger or a virtual machine does: it wakes up and believes that no time has passed.
var pauses = []kind{{"paused", func(c *cluster, i int, length time.Duration) error {
	p := c.nodes[i].cmd.Process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(length)
	return p.Signal(syscall.SIGCONT)
}}}
