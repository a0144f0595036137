package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
)

// dispatch answers one request frame: header, admission, decoding, handler, encoding. An error closes the connection and is
// its reason.
func (s *session) dispatch(ctx context.Context, frame []byte) (*wire.Reply, error) {
	h, body, err := wire.ParseHeader(frame, flexible)
	if err != nil {
		return nil, err
	}
	c := &s.call
	*c = call{ctx: ctx, key: h.Key, version: h.Version, correlation: h.Correlation, clientID: s.intern(h.ClientID), frame: frame}
	a, err := s.look(c)
	if err != nil {
		return nil, c.failed(err)
	}
	if err := s.admit(c.key, c.version); err != nil {
		return nil, c.failed(err)
	}
	if err := s.decode(a, c, body); err != nil {
		return nil, c.failed(fmt.Errorf("%w: %w", ErrMalformedRequest, err))
	}
	s.server.counters.count(c.key)
	if s.server.config.Intercept != nil {
		return s.intercept(a, c)
	}
	resp, err := a.handle(s, c)
	if err != nil {
		c.drop()
		return nil, c.failed(err)
	}
	s.throttleRequest(c)
	if resp == nil || c.quiet {
		c.drop()
		return s.mute(c), c.closing
	}
	return s.encode(c, resp)
}

// mute is the reply to a request that has no answer: nothing, and for as long as quotas want nothing more is read.
func (s *session) mute(c *call) *wire.Reply {
	if c.throttle == 0 {
		return nil
	}
	r := s.reply()
	r.Buf, r.Raw, r.MuteFor = nil, true, c.throttle
	return r
}

// look finds the API, if this version of it is served. ApiVersions alone is served in all versions.
func (s *session) look(c *call) (*api, error) {
	a := apis[c.key]
	r, ok := s.server.versions[c.key]
	if !ok || c.key != keyApiVersions && (c.version < max(r.Min, a.oldest) || c.version > r.Max) {
		return nil, ErrUnsupportedVersion
	}
	return a, nil
}

// failed says which request it was that closed the connection.
func (c *call) failed(err error) error {
	return &RequestError{Key: c.key, Version: c.version, API: apiName(c.key), ClientID: c.clientID, Err: err}
}

// decode reads the body into a request of the API's type.
func (s *session) decode(a *api, c *call, body []byte) error {
	switch c.key {
	case keyProduce:
		c.req = s.produce.request()
	case keyFetch:
		c.req = s.fetch.request()
	default:
		c.req = kmsg.RequestForKey(c.key)
	}
	c.req.SetVersion(c.version)
	if c.key == keyApiVersions && c.version > a.Max {
		return nil // its body is of a layout that nobody here knows
	}
	if err := checkShape(c.key, c.version, c.version >= a.flexible, body); err != nil {
		return err
	}
	if a.unsafe {
		return c.req.(kmsg.UnsafeReadFrom).UnsafeReadFrom(body)
	}
	return c.req.ReadFrom(body)
}

// intercept has the host's hook around the handler.
func (s *session) intercept(a *api, c *call) (*wire.Reply, error) {
	seen := &Call{
		Context: c.ctx, Broker: s.broker.id, Listener: s.listener.name, Conn: s.info(), Key: c.key, Version: c.version,
		ClientID: c.clientID, Correlation: c.correlation, Request: c.req, Frame: c.frame,
	}
	answer := s.server.config.Intercept(seen, func() Answer {
		c.req = seen.Request
		resp, err := a.handle(s, c)
		if c.quiet {
			resp = nil
		}
		return Answer{Response: resp, Err: err, Close: c.closing != nil}
	})
	if answer.Err != nil {
		c.drop()
		return nil, c.failed(answer.Err)
	}
	if answer.Response == nil {
		c.drop()
		if answer.Close {
			return nil, c.closeReason()
		}
		return nil, nil
	}
	s.throttleRequest(c)
	c.delay += answer.Delay
	if answer.Close && c.closing == nil {
		c.closing = errIntercepted
	}
	if answer.Raw == nil {
		return s.encode(c, answer.Response)
	}
	copies := s.fetch.copies
	s.fetch.copies = true // the hook gets one buffer
	r, err := s.encode(c, answer.Response)
	s.fetch.copies = copies
	if err != nil {
		return nil, err
	}
	mangled := answer.Raw(slices.Clone(r.Buf[4:]))
	r.Buf = append(r.Buf[:4], mangled...)
	return r, nil
}

func (c *call) closeReason() error {
	if c.closing != nil {
		return c.failed(c.closing)
	}
	return errIntercepted
}

// drop gives back what an answer that is not written has borrowed.
func (c *call) drop() {
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// encode makes the frame of an answer. Records are not copied: they follow as pieces.
//
// The error is that of bytes that could not be read.
func (s *session) encode(c *call, resp kmsg.Response) (*wire.Reply, error) {
	if c.throttle > 0 {
		if t, ok := resp.(kmsg.SetThrottleResponse); ok {
			t.SetThrottle(int32(min(c.throttle.Milliseconds(), 1<<31-1)))
		}
	}
	if c.key != keyApiVersions { // which answers unknown versions in version 0
		resp.SetVersion(c.version)
	}
	r := s.reply()
	r.Buf = wire.AppendResponseHeader(r.Buf, c.correlation, resp.IsFlexible() && c.key != keyApiVersions)
	switch resp := resp.(type) {
	case *kmsg.FetchResponse:
		if err := s.fetch.encode(r, resp); err != nil {
			c.drop()
			return nil, c.failed(err)
		}
	case *kmsg.ProduceResponse:
		r.Buf = appendProduceResponse(r.Buf, resp)
	default:
		r.Buf = resp.AppendTo(r.Buf)
	}
	r.Release, c.release = c.release, nil
	r.MuteFor, r.Delay, r.CloseAfter = c.throttle, c.delay, c.closing != nil
	return r, nil
}

// intern returns a client id as a string; a connection mostly has one.
func (s *session) intern(id []byte) string {
	if string(id) != s.clientID {
		s.clientID = string(id)
	}
	return s.clientID
}
