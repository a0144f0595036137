package peer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// serve answers a call on a goroutine of its own.
func (l *link) serve(h head, body *buffer) error {
	n := int64(len(body.b))
	ctx, cancel := context.WithCancelCause(l.ctx)
	limit := l.e.config.Limits.Window
	l.mu.Lock()
	var err error
	switch {
	case l.taken.Calls > 0 && (l.taken.Calls >= limit.Calls || l.taken.Bytes+n > limit.Bytes):
		err = fmt.Errorf("%w: more calls under way than %d of %d bytes", ErrProtocol, limit.Calls, limit.Bytes)
	case l.serving[h.correlation] != nil:
		err = fmt.Errorf("%w: call %d is under way already", ErrProtocol, h.correlation)
	default:
		l.taken.Calls++
		l.taken.Bytes += n
		l.serving[h.correlation] = func() { cancel(errCancelled) }
	}
	l.mu.Unlock()
	if err != nil {
		cancel(nil)
		body.give()
		return err
	}
	stop := func() bool { return false }
	if h.aux > 0 {
		wait := time.Duration(h.aux) * time.Millisecond
		stop = l.e.config.Clock.AfterFunc(wait, func() { cancel(context.DeadlineExceeded) })
	}
	l.calls.Add(1)
	l.work.Go(func() {
		reply, err := l.answer(ctx, h, body.b)
		stop()
		cancel(nil)
		f := frame{typ: frameReply, correlation: h.correlation, pieces: reply.Pieces}
		for _, piece := range reply.Pieces {
			f.bytes += len(piece)
		}
		if err == nil && f.bytes > l.maxFrame {
			err = &TooLargeError{f.bytes, l.maxFrame}
		}
		if err != nil {
			if reply.Release != nil {
				reply.Release()
				reply.Release = nil
			}
			text := err.Error()
			text = text[:min(len(text), 4<<10, l.maxFrame)]
			f = frame{typ: frameFailure, correlation: h.correlation, one: []byte(text), bytes: len(text)}
			if coded, ok := errors.AsType[Coded](err); ok {
				f.aux = coded.PeerCode()
			}
		}
		f.release = func() {
			body.give()
			if reply.Release != nil {
				reply.Release()
			}
		}
		l.mu.Lock()
		delete(l.serving, h.correlation)
		l.taken.Calls-- // the caller counts until it has the answer
		l.taken.Bytes -= n
		queued := (err == nil || l.e.ctx.Err() == nil) && l.putLocked(&l.queue, f) // who closes is not to blame the call
		l.mu.Unlock()
		if !queued {
			f.release()
		}
	})
	return nil
}

// answer calls the handler; its panic ends the connection.
func (l *link) answer(ctx context.Context, h head, body []byte) (reply Reply, err error) {
	panicked := guard(func() { reply, err = l.e.config.Handler.Call(ctx, l.remote.NodeID, h.kind, body) })
	if panicked != nil {
		l.fail(panicked)
		return Reply{}, panicked
	}
	return reply, err
}
