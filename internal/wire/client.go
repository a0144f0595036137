package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
)

// Client is the other end of a connection: it sends requests, several at a time, and gives each its response. It is safe
// for concurrent use.
type Client struct {
	net     net.Conn
	id      []byte
	ended   chan struct{} // closed when the reading goroutine has ended
	writing chan struct{} // holds a token while nobody writes

	mu      sync.Mutex // guards all below
	pending []*exchange
	next    int32
	err     error // why the connection has ended
}

// exchange is a request whose response is to come.
type exchange struct {
	correlation int32
	flexible    bool // the response's header
	done        chan struct{}
	body        []byte
	err         error
}

// ErrClientClosed is the error of requests after Client.Close.
var ErrClientClosed = errors.New("client closed")

// NewClient speaks over a connection that is open (dialled, and TLS if that is wanted), which belongs to the client from
// now on. id is the client id of all requests; nil is null. Close ends it.
func NewClient(c net.Conn, id []byte) *Client {
	client := &Client{net: c, id: id, ended: make(chan struct{}), writing: make(chan struct{}, 1)}
	client.writing <- struct{}{}
	go client.read()
	return client
}

// Do sends a request and waits for its response, whose body it returns; it is the caller's. Correlation and ClientID
// of h are set by the client. flexible tells whether this version of the request has tagged fields. Other calls may send
// theirs meanwhile; responses come in the order of the requests.
//
// When ctx ends first, the server may have done what was asked; the connection goes on unless ctx ended within the writing.
// Any other error ends the connection, and all requests with it.
func (c *Client) Do(ctx context.Context, h Header, flexible bool, body ...[]byte) ([]byte, error) {
	e := &exchange{flexible: flexible && h.Key != int16(kmsg.ApiVersions), done: make(chan struct{})}
	if err := c.send(ctx, h, flexible, body, e); err != nil {
		return nil, err
	}
	select {
	case <-e.done:
		return e.body, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Post sends a request that has no response (a Produce with acks 0).
func (c *Client) Post(ctx context.Context, h Header, flexible bool, body ...[]byte) error {
	return c.send(ctx, h, flexible, body, nil)
}

// Request sends a message in the version that it has, and decodes the response.
func (c *Client) Request(ctx context.Context, r kmsg.Request) (kmsg.Response, error) {
	h := Header{Key: r.Key(), Version: r.GetVersion()}
	body, err := c.Do(ctx, h, r.IsFlexible(), r.AppendTo(nil))
	if err != nil {
		return nil, err
	}
	response := r.ResponseKind()
	response.SetVersion(r.GetVersion())
	return response, response.ReadFrom(body)
}

// Authenticate logs in, before other requests (SaslHandshake v1, SaslAuthenticate v1), and again before the lifetime has
// passed that it returns (KIP-368); 0 is for ever. A refusal is a *AuthenticationError.
func (c *Client) Authenticate(ctx context.Context, m ClientMechanism) (lifetime time.Duration, err error) {
	handshake := kmsg.NewPtrSASLHandshakeRequest()
	handshake.Version, handshake.Mechanism = 1, m.Name()
	r, err := c.Request(ctx, handshake)
	if err != nil {
		return 0, err
	}
	if shaken := r.(*kmsg.SASLHandshakeResponse); shaken.ErrorCode != 0 {
		return 0, &AuthenticationError{m.Name(), fmt.Sprintf("the server has the mechanisms %q", shaken.SupportedMechanisms), nil}
	}
	e := m.Start()
	var challenge []byte
	for {
		token, done, err := e.Step(challenge)
		if err != nil || done {
			return lifetime, err
		}
		authenticate := kmsg.NewPtrSASLAuthenticateRequest()
		authenticate.Version, authenticate.SASLAuthBytes = 1, token
		r, err := c.Request(ctx, authenticate)
		if err != nil {
			return 0, err
		}
		answer := r.(*kmsg.SASLAuthenticateResponse)
		if answer.ErrorCode != 0 {
			message := "error " + fmt.Sprint(answer.ErrorCode)
			if answer.ErrorMessage != nil {
				message = *answer.ErrorMessage
			}
			return 0, &AuthenticationError{m.Name(), message, nil}
		}
		challenge, lifetime = answer.SASLAuthBytes, time.Duration(answer.SessionLifetimeMillis)*time.Millisecond
	}
}

// Close ends the connection and all requests, and returns when the client's goroutine has ended.
func (c *Client) Close() error {
	c.fail(ErrClientClosed)
	<-c.ended
	return nil
}

// send writes a request; e, if not nil, gets the response.
func (c *Client) send(ctx context.Context, h Header, flexible bool, body [][]byte, e *exchange) error {
	select {
	case <-c.writing:
		defer func() { c.writing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	if err := c.err; err != nil {
		c.mu.Unlock()
		return err
	}
	h.Correlation, h.ClientID = c.next, c.id
	c.next++
	if e != nil {
		e.correlation = h.Correlation
		c.pending = append(c.pending, e)
	}
	c.mu.Unlock()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.net.SetWriteDeadline(clock.System.Now())
		close(cut)
	})
	pieces := append([][]byte{AppendHeader(nil, h, flexible)}, body...)
	err := WriteFrame(c.net, pieces...)
	if !stop() {
		<-cut
		if err == nil { // it was written before that
			err = c.net.SetWriteDeadline(time.Time{})
		} else {
			err = ctx.Err()
		}
	}
	if err != nil {
		c.fail(fmt.Errorf("request was not written: %w", err)) // half of it may have been
	}
	return err
}

// fail ends the connection with its first error.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.net.Close()
	for _, e := range c.pending {
		e.err = err
		close(e.done)
	}
	c.pending = nil
}

// read gives responses to their requests until the connection ends.
func (c *Client) read() {
	defer close(c.ended)
	for {
		frame, err := ReadFrame(c.net, clientFrame, nil)
		if err == nil {
			err = c.answer(frame)
		}
		if err != nil {
			c.fail(fmt.Errorf("connection lost: %w", err))
			return
		}
	}
}

// clientFrame is the largest response that is taken: what a server is configured to send at most is unknown here.
const clientFrame = 1 << 30

func (c *Client) answer(frame []byte) error {
	if len(frame) < 4 {
		return fmt.Errorf("response of %d bytes", len(frame))
	}
	correlation, body := int32(binary.BigEndian.Uint32(frame)), frame[4:]
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 || c.pending[0].correlation != correlation {
		return fmt.Errorf("response to request %d, which is not the next", correlation)
	}
	e := c.pending[0]
	if e.flexible {
		rest, err := skipTags(body)
		if err != nil {
			return err
		}
		body = rest
	}
	c.pending = c.pending[1:]
	e.body = body
	close(e.done)
	return nil
}
