package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// killAgainAndAgain runs the work in a child process and kills that at a random moment, so many times.
func killAgainAndAgain(o options, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	working := 0
	for range o.kills {
		child := exec.Command(self, "-dir", o.dir, "-in", o.in, "-out", o.out, "-batch", strconv.Itoa(o.batch))
		child.Stderr = stderr
		if err := child.Start(); err != nil {
			return err
		}
		time.Sleep(rand.N(100 * time.Millisecond))
		_ = child.Process.Kill() // it may have finished
		if err := child.Wait(); err != nil {
			working++
		}
	}
	fmt.Fprintf(stderr, "killed %d times, %d times at work\n", o.kills, working)
	return nil
}
