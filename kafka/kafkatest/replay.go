package kafkatest

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition/partitiontest"
)

// Replay is a double made of a recording: it answers a request as the real broker has answered the same request. Requests
// are the same if key, version and body are, but for times, numbers of fetch sessions and the encoding of records. What
// one connection of the recording has had goes first, in its order; then what the others have; then the last of these
// answers again, but for a Fetch, which is then answered as at the end of its partitions. A request that was never recorded
// closes the connection, and is in Unknown; one that had no answer gets none. All brokers of the recording are at one address.
type Replay struct {
	listener net.Listener
	ended    context.Context
	end      context.CancelFunc

	mu      sync.Mutex // guards all below
	answers map[string][]*recorded
	unknown []string
	open    map[net.Conn]bool
	closed  bool
	running sync.WaitGroup
}

// recorded is an answer of a recording.
type recorded struct {
	*Exchange
	used bool
}

// NewReplay serves a recording on a port of the loopback address. Close ends it. A recording that has requests which do not
// decode is an error.
func NewReplay(recording []Exchange) (*Replay, error) {
	r := &Replay{answers: map[string][]*recorded{}, open: map[net.Conn]bool{}}
	for i := range recording {
		m, err := decodeRequest(recording[i].Request)
		if err != nil {
			return nil, fmt.Errorf("recording, request %d: %w", recording[i].Seq, err)
		}
		key := m.normalised()
		r.answers[key] = append(r.answers[key], &recorded{Exchange: &recording[i]})
	}
	var err error
	if r.listener, err = loopback.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	r.ended, r.end = context.WithCancel(context.Background())
	r.running.Go(func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

// Addr returns the address for clients.
func (r *Replay) Addr() string { return r.listener.Addr().String() }

// Unknown lists the requests that were not in the recording.
func (r *Replay) Unknown() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unknown)
}

// Close ends all connections and waits for them.
func (r *Replay) Close() error {
	r.mu.Lock()
	r.closed = true
	for c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.end()
	err := r.listener.Close()
	r.running.Wait()
	return err
}

// serve is one connection, whose requests are answered one after the other.
func (r *Replay) serve(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	closed := r.closed
	r.open[c] = true
	r.mu.Unlock()
	if closed {
		return
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, c)
	}()
	var like int64 // the connection of the recording that this one is like
	for {
		frame, err := wire.ReadFrame(c, maxRecorded, nil)
		if err != nil {
			return
		}
		m, err := decodeRequest(frame)
		if err != nil {
			r.mu.Lock()
			r.unknown = append(r.unknown, err.Error())
			r.mu.Unlock()
			return
		}
		answer, again, ok := r.find(&m, &like)
		if !ok {
			return
		}
		if answer == nil {
			continue // as the broker
		}
		if wire.WriteFrame(c, r.fit(&m, answer, again)) != nil {
			return
		}
	}
}

// find chooses the answer; again says that somebody has had it.
func (r *Replay) find(m *message, like *int64) (answer []byte, again, ok bool) {
	key := m.normalised()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.answers[key]
	if len(all) == 0 {
		r.unknown = append(r.unknown, m.summary(nil))
		return nil, false, false
	}
	choose := func(f func(*recorded) bool) *recorded {
		if i := slices.IndexFunc(all, f); i >= 0 {
			return all[i]
		}
		return nil
	}
	x := choose(func(x *recorded) bool { return !x.used && x.Connection == *like })
	if x == nil {
		x = choose(func(x *recorded) bool { return !x.used })
	}
	if x == nil {
		x, again = all[len(all)-1], true
	}
	x.used = true
	if m.Key != int16(kmsg.ApiVersions) {
		*like = x.Connection
	}
	return x.Response, again, true
}

// fit makes a recorded answer the answer to m.
func (r *Replay) fit(m *message, answer []byte, again bool) []byte {
	answer = slices.Clone(answer)
	resp, err := m.decodeResponse(answer)
	if err == nil {
		changed := false
		if v, ok := resp.(*kmsg.ApiVersionsResponse); ok {
			understood(v)
			changed = true
		}
		at := r.listener.Addr().(*net.TCPAddr)
		found, _ := redirect(resp, func(string, int32) (string, int32, error) { return at.IP.String(), int32(at.Port), nil })
		if f, ok := resp.(*kmsg.FetchResponse); ok && again && f.ErrorCode == 0 {
			r.atEnd(m.req.(*kmsg.FetchRequest), f)
			changed = true
		}
		if changed || found {
			return m.encodeResponse(m.Correlation, resp)
		}
	}
	if len(answer) >= 4 {
		binary.BigEndian.PutUint32(answer, uint32(m.Correlation))
	}
	return answer
}

// atEnd takes the records out of an answer to a fetch, and waits as a broker does that has none.
func (r *Replay) atEnd(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			p.RecordBatches, p.AbortedTransactions = []byte{}, nil
		}
	}
	wait(r.ended, clock.System, time.Duration(req.MaxWaitMillis)*time.Millisecond)
}

// normalised is the same for requests that are.
func (m *message) normalised() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(int(m.Key)) + "/" + strconv.Itoa(int(m.Version)) + "/")
	req := kmsg.RequestForKey(m.Key)
	req.SetVersion(m.Version)
	if err := req.ReadFrom(m.req.AppendTo(nil)); err != nil { // a copy, which is changed
		panic("BUG: a request that was decoded does not encode: " + err.Error())
	}
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		req.ClientSoftwareName, req.ClientSoftwareVersion = "", ""
		req.ClusterID, req.NodeID = nil, -1 // whom the client means: it may ask any broker first (KIP-1242)
	case *kmsg.SASLAuthenticateRequest:
		req.SASLAuthBytes = nil
	case *kmsg.FetchRequest:
		req.SessionID, req.SessionEpoch, req.MaxWaitMillis = 0, 0, 0
	case *kmsg.ProduceRequest:
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Records = plainRecords(p.Records)
			}
		}
	}
	b.Write(req.AppendTo(nil))
	return b.String()
}

// plainRecords tells keys, values and headers of batches; what does not decode it leaves alone.
func plainRecords(chunk []byte) []byte {
	records, err := partitiontest.Records(chunk)
	if err != nil {
		return chunk
	}
	var b []byte
	for _, r := range records {
		b = fmt.Appendf(b, "%s %s %q\n", part(r.Key), part(r.Value), r.Headers)
	}
	return b
}
