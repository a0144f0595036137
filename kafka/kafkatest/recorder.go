package kafkatest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
)

// Recorder stands between clients and a real cluster, and writes down what they say to each other: one line of JSON an
// Exchange. Addresses of brokers in answers are replaced by its own, so that clients stay with it; there is a port of the
// loopback address for each broker. Contents of SaslAuthenticate are blanked in the recording: passwords do not get there.
// Versions of APIs that this module cannot decode are not offered to clients. Not for SaslHandshake v0, whose
// tokens are no requests.
type Recorder struct {
	config RecorderConfig
	began  time.Time

	mu      sync.Mutex // guards all below
	out     *json.Encoder
	err     error // of writing; nothing is written after it
	seq     int64
	conns   int64
	ports   map[string]net.Listener // by the real broker's address
	open    map[net.Conn]bool
	closed  bool
	running sync.WaitGroup
}

// RecorderConfig says what a Recorder records.
type RecorderConfig struct {
	// Brokers are the bootstrap addresses of the real cluster; one at least.
	Brokers []string
	// Output gets the recording. It is written to by one goroutine at a time.
	Output io.Writer
	// Dial connects to a real broker; default TCP. That of a tls.Dialer records an encrypted cluster.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// StartRecorder starts a Recorder. Close ends it.
func StartRecorder(c RecorderConfig) (*Recorder, error) {
	if len(c.Brokers) == 0 || c.Output == nil {
		return nil, errors.New("record: no brokers, or no output")
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	r := &Recorder{config: c, began: clock.System.Now(), out: json.NewEncoder(c.Output), ports: map[string]net.Listener{}, open: map[net.Conn]bool{}}
	for _, b := range c.Brokers {
		if _, err := r.port(b); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Addrs returns the addresses that clients use in place of Brokers.
func (r *Recorder) Addrs() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.config.Brokers {
		all = append(all, r.ports[b].Addr().String())
	}
	return all
}

// Close ends all connections, and waits until everything is written. It returns the first error of writing.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, l := range r.ports {
		l.Close()
	}
	for c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// port returns where the recorder listens for a real broker.
func (r *Recorder) port(broker string) (net.Listener, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if l := r.ports[broker]; l != nil {
		return l, nil
	}
	l, err := loopback.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.ports[broker] = l
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.serve(c, broker) })
		}
	})
	return l, nil
}

// keep has Close end a connection; false if that is done.
func (r *Recorder) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.open[c] = true
	}
	return !r.closed
}

func (r *Recorder) drop(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

// asked is a request whose answer is to come.
type asked struct {
	Exchange
	message
	readable bool
}

// serve is one connection of a client.
func (r *Recorder) serve(client net.Conn, broker string) {
	defer r.drop(client)
	if !r.keep(client) {
		return
	}
	real, err := r.config.Dial(context.Background(), "tcp", broker)
	if err != nil {
		return // the client sees what it would have seen
	}
	defer r.drop(real)
	if !r.keep(real) {
		return
	}
	r.mu.Lock()
	r.conns++
	id := r.conns
	r.mu.Unlock()

	var mu sync.Mutex // guards waiting
	var waiting []*asked
	var back sync.WaitGroup
	back.Go(func() { // answers
		defer client.Close()
		for {
			frame, err := wire.ReadFrame(real, maxRecorded, nil)
			if err != nil || len(frame) < 4 {
				return
			}
			correlation := int32(binary.BigEndian.Uint32(frame))
			mu.Lock()
			var a *asked
			if i := slices.IndexFunc(waiting, func(a *asked) bool { return a.Correlation == correlation }); i >= 0 {
				a = waiting[i]
				waiting = slices.Delete(waiting, i, i+1)
			}
			mu.Unlock()
			if frame, err = r.answered(a, frame); err != nil {
				return
			}
			if wire.WriteFrame(client, frame) != nil {
				return
			}
		}
	})
	for {
		frame, err := wire.ReadFrame(client, maxRecorded, nil)
		if err != nil {
			break
		}
		a := &asked{Exchange: Exchange{Connection: id, Broker: broker, Request: frame}}
		a.message, err = decodeRequest(frame)
		a.readable = err == nil
		r.number(a)
		if a.readable && a.silent() {
			r.write(a)
		} else {
			mu.Lock()
			waiting = append(waiting, a)
			mu.Unlock()
		}
		if wire.WriteFrame(real, frame) != nil {
			break
		}
	}
	real.Close()
	back.Wait()
	for _, a := range waiting {
		r.write(a)
	}
}

// maxRecorded is the largest frame that is passed on.
const maxRecorded = 1 << 30

func (r *Recorder) number(a *asked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	a.Seq, a.At = r.seq, clock.System.Now().Sub(r.began)
}

// answered writes an exchange down, and returns what the client is to see.
func (r *Recorder) answered(a *asked, frame []byte) ([]byte, error) {
	if a == nil {
		return frame, nil
	}
	a.Response, a.Took = frame, clock.System.Now().Sub(r.began)-a.At
	r.write(a)
	if !a.readable || a.Key != int16(kmsg.ApiVersions) && !slices.Contains(endpointAPIs, a.Key) {
		return frame, nil
	}
	resp, err := a.decodeResponse(frame)
	if err != nil {
		return frame, nil // the client shall see it
	}
	if v, ok := resp.(*kmsg.ApiVersionsResponse); ok {
		understood(v)
		return a.encodeResponse(a.Correlation, resp), nil
	}
	found, err := redirect(resp, func(host string, port int32) (string, int32, error) {
		l, err := r.port(net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			return "", 0, err
		}
		at := l.Addr().(*net.TCPAddr)
		return at.IP.String(), int32(at.Port), nil
	})
	if err != nil || !found {
		return frame, err
	}
	return a.encodeResponse(a.Correlation, resp), nil
}

// write writes a line.
func (r *Recorder) write(a *asked) {
	x := a.Exchange
	switch {
	case !a.readable:
		x.Summary = "a request that does not decode"
	case a.Response == nil:
		x.Summary = a.summary(nil)
	default:
		resp, err := a.decodeResponse(a.Response)
		if err != nil {
			x.Summary = a.summary(nil) + fmt.Sprintf(" → an answer that does not decode: %v", err)
			break
		}
		x.Summary = a.summary(resp)
		if auth, ok := resp.(*kmsg.SASLAuthenticateResponse); ok {
			auth.SASLAuthBytes = []byte{}
			x.Response = a.encodeResponse(a.Correlation, auth)
		}
	}
	if auth, ok := a.req.(*kmsg.SASLAuthenticateRequest); ok {
		auth.SASLAuthBytes = []byte{}
		x.Request = auth.AppendTo(wire.AppendHeader(nil, a.Header, auth.IsFlexible()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.out.Encode(x)
	}
}
