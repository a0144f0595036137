package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/partlog/partlog/internal/vfs"
)

// CrashKind is what a crash leaves on the disk.
type CrashKind int

const (
	// Kill ends the process: all that was written is there, synced or not.
	Kill CrashKind = iota + 1
	// PowerLoss takes what has not been synced, wholly or in parts, as the seed decides. It needs a FaultyDisk.
	PowerLoss
	// TornWrite kills the process in the middle of the next write to a segment of a topic that is not internal: half of the
	// write's bytes are there. The crash comes with that write.
	TornWrite
)

var crashNames = []string{"none", "kill", "power-loss", "torn-write"}

// String returns kill, power-loss or torn-write.
func (k CrashKind) String() string {
	if k < Kill || int(k) >= len(crashNames) {
		return crashNames[0]
	}
	return crashNames[k]
}

func crashKind(name string) (CrashKind, bool) {
	i := slices.Index(crashNames, name)
	return CrashKind(i), i > 0
}

// Crash has the process of all brokers end at this moment, and starts it again on what is left on the disk: the store is
// recovered, the listeners have the same ports. Requests in hand are not answered, connections are closed, clients connect
// again. A broker that was stopped stays stopped; moved leaders are where they were at first; rules stay, but those of the
// disk. It returns when all is up again: nil, the store's error of opening, ErrNoPowerLoss or ErrClosed. Server and Store
// return new ones from then on.
//
// With TornWrite it returns at once, and the crash comes with the next write: see WaitCrash. To crash at a chosen request,
// inject a Rule with Crash.
func (c *Cluster) Crash(kind CrashKind) error {
	if err := c.crashable(kind); err != nil {
		return err
	}
	if kind == TornWrite {
		c.tear()
		return nil
	}
	c.change.Lock()
	defer c.change.Unlock()
	c.kill()
	return c.recover(kind)
}

// Reopen shuts the brokers and the store down in good order, and starts them again. Poisoned partitions and a full disk are
// forgotten, as are rules of the disk.
func (c *Cluster) Reopen() error {
	c.change.Lock()
	defer c.change.Unlock()
	if c.isClosed() {
		return ErrClosed
	}
	c.faults().Clear()
	_ = c.shut() // what a poisoned partition says is known
	return c.boot()
}

func (c *Cluster) crashable(kind CrashKind) error {
	if d, ok := c.disk.(*memoryDisk); kind == PowerLoss && (!ok || !d.crash) {
		return ErrNoPowerLoss
	}
	if kind < Kill || kind > TornWrite {
		return fmt.Errorf("crash of the kind %d: there is none such", kind)
	}
	return nil
}

// Crashes returns how many crashes the cluster has come back from.
func (c *Cluster) Crashes() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.crashes
}

// WaitCrash waits until the cluster has come back from n crashes in all, and returns the errors of coming back.
func (c *Cluster) WaitCrash(ctx context.Context, n int) error {
	for {
		c.mu.RLock()
		done, crashed, err := c.crashes, c.crashed, c.crashErr
		c.mu.RUnlock()
		if done >= n || err != nil {
			return err
		}
		select {
		case <-crashed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d crashes: %w", done, n, ctx.Err())
		}
	}
}

// frozen is what a disk does whose machine is down.
var frozen = vfs.Rule{Op: vfs.AnyOp &^ (vfs.OpClose | vfs.OpUsage), Forever: true, Err: ErrCrashed}

// kill stops the disk: from now on nothing gets there, and nobody is answered. It reports whether that is new.
func (c *Cluster) kill() bool {
	if !c.dead.CompareAndSwap(false, true) {
		return false
	}
	c.faults().Add(frozen)
	return true
}

// crashByRule is a crash at a request, on its connection's goroutine.
func (c *Cluster) crashByRule(kind CrashKind) {
	if kind == TornWrite {
		c.tear()
		return
	}
	if c.kill() {
		c.comeBack(kind)
	}
}

// tear has the next write to a segment be the last thing that happens, and half of it.
func (c *Cluster) tear() {
	faults := c.faults()
	var done atomic.Bool
	faults.OnOp(func(op vfs.Op) { // is called before the write is made, and before rules are asked
		if op.Kind != vfs.OpWrite || !isSegment(op.Path) || !done.CompareAndSwap(false, true) {
			return
		}
		if c.dead.CompareAndSwap(false, true) {
			faults.Add(vfs.Rule{Op: vfs.OpWrite, Path: op.Path, Short: int(op.Len / 2), Err: ErrCrashed})
			faults.Add(frozen)
			c.comeBack(Kill)
		}
	})
}

// isSegment tells the segments of topics of users.
func isSegment(path string) bool {
	dir := filepath.Dir(path)
	return strings.HasSuffix(path, ".log") && filepath.Base(filepath.Dir(dir)) == "data" && !strings.HasPrefix(filepath.Base(dir), "__")
}

// comeBack recovers soon from a crash that has begun on a goroutine that is part of it.
func (c *Cluster) comeBack(kind CrashKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.running.Go(func() {
		c.change.Lock()
		defer c.change.Unlock()
		if c.dead.Load() {
			_ = c.recover(kind) // kept for WaitCrash and Close
		}
	})
}

func (c *Cluster) isClosed() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.closed
}

// recover opens everything again after a crash. change is held.
func (c *Cluster) recover(kind CrashKind) error {
	if c.isClosed() {
		return ErrClosed
	}
	_ = c.shut() // fails in every way
	var err error
	if kind == PowerLoss {
		err = c.disk.lose(rand.New(rand.NewPCG(c.config.seed, uint64(c.Crashes()))))
	}
	if err == nil {
		err = c.boot()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashes++
	if err != nil {
		c.crashErr = errors.Join(c.crashErr, fmt.Errorf("come back from %s: %w", kind, err))
	}
	close(c.crashed)
	c.crashed = make(chan struct{})
	return err
}
