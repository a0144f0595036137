package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"runtime/debug"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// serve is the life of a connection, on its goroutine.
func (c *Conn) serve(h Handler) {
	session, reason := c.open(h)
	if reason == nil {
		c.server.opened.Add(1)
		c.server.config.Opened(c)
		reason = c.loop(session)
	}
	if first := c.reason.Load(); first != nil {
		reason = *first // that the socket then failed is its consequence
	} else if errors.Is(reason, ErrCloseAfter) {
		c.linger()
	}
	c.phase.Store(ending)
	c.done()
	c.cancel(reason)
	c.net.Close()
	if session != nil {
		session.Close(reason)
	}
	c.server.forget(c)
	if session != nil {
		c.server.config.Closed(c, reason)
	} else {
		c.server.refuse(c.RemoteAddr(), reason)
	}
	c.server.running.Done()
}

func (c *Conn) open(h Handler) (Session, error) {
	if quota := c.server.config.Quota; quota != nil {
		delay, err := quota(c.RemoteAddr())
		if delay > 0 {
			wait(c.ctx, c.server.config.Clock, delay)
		}
		if err != nil {
			return nil, err
		}
	}
	if limit := c.server.config.Limits.Handshake; limit > 0 {
		c.admitAt.Store(c.server.io.now() + int64(limit))
		c.ioUnlimited()
		c.server.io.watch()
	}
	if secure, ok := c.net.(*tls.Conn); ok {
		if err := secure.HandshakeContext(c.ctx); err != nil {
			return nil, err
		}
	}
	c.inline = make([]byte, inlineBytes)
	return h.Open(c)
}

// loop answers requests until the connection ends, and returns why.
func (c *Conn) loop(session Session) error {
	for {
		frame, err := c.next()
		if err != nil {
			return err
		}
		c.server.requests.Add(1)
		c.server.received.Add(int64(sizeRoom + len(frame)))
		if !c.phase.CompareAndSwap(reading, answering) {
			return ErrServerClosed
		}
		mute, err := c.answer(session, frame)
		c.done()
		if err != nil {
			return err
		}
		if mute > 0 {
			wait(c.ctx, c.server.config.Clock, mute)
		}
		c.phase.Store(reading)
		if c.server.draining.Load() {
			return ErrServerClosed
		}
	}
}

// answer asks the session and writes what it says.
func (c *Conn) answer(session Session, frame []byte) (mute time.Duration, err error) {
	r, failure := c.ask(session, frame)
	if r == nil {
		return 0, failure
	}
	if r.Delay > 0 {
		wait(c.ctx, clock.System, r.Delay)
	}
	err = c.send(r)
	mute, last := r.MuteFor, r.CloseAfter
	c.release(r)
	switch {
	case err != nil:
		return 0, err
	case failure != nil:
		return 0, failure
	case last:
		return 0, ErrCloseAfter
	}
	return mute, nil
}

// ask makes an error of a panic: a request that one Session cannot take must not end the others.
func (c *Conn) ask(session Session, frame []byte) (r *Reply, err error) {
	defer func() {
		if value := recover(); value != nil {
			r, err = nil, &PanicError{value, debug.Stack()}
		}
	}()
	return session.Frame(c.ctx, frame)
}

// linger lets the peer read the last reply: closing a socket that has unread bytes resets the connection, and what the
// peer has not read yet is lost to it.
func (c *Conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.net.SetReadDeadline(clock.System.Now().Add(lingerTime))
	io.CopyN(io.Discard, struct{ io.Reader }{c.net}, lingerBytes)
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)
