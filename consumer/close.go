package consumer

import (
	"reflect"
	"runtime"
)

// Close ends the consumer: a loop under way gets ErrClosed in place of its next record, what loops have finished is
// committed (with CommitFinished), and a member leaves its group; a static one does not, and has its partitions again if
// it comes back within group.Config.SessionTimeout. A record that a loop body still has, or that the last Poll returned, is
// not acknowledged. It waits for commits, those of CommitAsync too, not for the loop, so it may be called inside one. It
// may be called again and by several at once: all wait, and get the first failure. Inside a function of Config.Events or
// Config.Listener, or the callback of a CommitAsync, which it would wait for, it only begins, and returns nil.
func (c *Consumer) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.signal()
		go c.shut()
	})
	if inEvent() {
		return nil
	}
	<-c.closeDone
	return c.closeErr
}

// shut is Close, on a goroutine of its own, so that an event may call it.
func (c *Consumer) shut() {
	defer close(c.closeDone)
	c.committing.Wait()
	if c.member != nil {
		c.closeErr = c.member.close()
	}
	c.mu.Lock()
	if c.closeErr == nil && !c.told {
		c.closeErr = c.failure // of the background, which nobody has heard of yet
	}
	c.mu.Unlock()
	c.end()
	c.work.Wait()
}

// event runs a function of the host's that is no loop body. All of them go through it, so that inEvent can tell.
//
//go:noinline
func event(f func()) { f() }

var eventEntry = reflect.ValueOf(event).Pointer()

// inEvent reports whether the calling goroutine is running such a function, of any consumer. Close would wait for
// itself there.
func inEvent() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			if f := runtime.FuncForPC(pc); f != nil && (f.Entry() == eventEntry || f.Entry() == handlerEntry) {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
