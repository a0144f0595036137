package kafkatest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
)

// Exchange is one request of a recording, with its answer: a line of JSON in a file.
type Exchange struct {
	Seq        int64         `json:"seq"`        // of the request in the recording, from 1
	At         time.Duration `json:"at"`         // of the request since the recording began, in nanoseconds
	Took       time.Duration `json:"took"`       // until the answer
	Connection int64         `json:"connection"` // counted from 1
	Broker     string        `json:"broker"`     // host:port of the real broker
	Request    []byte        `json:"request"`    // header and body, without the size
	Response   []byte        `json:"response"`   // as the broker sent it; null if it sent none
	Summary    string        `json:"summary"`    // for people; nobody reads it back
}

// ReadRecording reads what a Recorder has written, and returns it in the order of the requests.
func ReadRecording(r io.Reader) (all []Exchange, err error) {
	lines := json.NewDecoder(bufio.NewReader(r))
	for {
		var x Exchange
		if err := lines.Decode(&x); errors.Is(err, io.EOF) {
			slices.SortFunc(all, func(a, b Exchange) int { return int(a.Seq - b.Seq) })
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("recording, line %d: %w", len(all)+1, err)
		}
		all = append(all, x)
	}
}

// message is a request frame, decoded.
type message struct {
	wire.Header
	req kmsg.Request
}

func flexibleRequest(key, version int16) bool {
	req := kmsg.RequestForKey(key)
	if req == nil {
		return false
	}
	req.SetVersion(version)
	return req.IsFlexible()
}

// decodeRequest decodes a request frame into memory of its own.
func decodeRequest(frame []byte) (m message, err error) {
	h, body, err := wire.ParseHeader(frame, flexibleRequest)
	if err != nil {
		return m, err
	}
	m.Header = h
	if m.req = kmsg.RequestForKey(h.Key); m.req == nil {
		return m, fmt.Errorf("unknown API %d", h.Key)
	}
	if h.Version > m.req.MaxVersion() {
		return m, fmt.Errorf("unknown version %d of %s", h.Version, kmsg.NameForKey(h.Key))
	}
	m.req.SetVersion(h.Version)
	return m, m.req.ReadFrom(body)
}

// silent reports whether the request has no answer: a Produce with acks=0.
func (m *message) silent() bool {
	p, ok := m.req.(*kmsg.ProduceRequest)
	return ok && p.Acks == 0
}

// decodeResponse decodes the answer to m.
func (m *message) decodeResponse(frame []byte) (kmsg.Response, error) {
	if len(frame) < 4 {
		return nil, fmt.Errorf("answer of %d bytes", len(frame))
	}
	resp, body := m.req.ResponseKind(), frame[4:]
	if resp.IsFlexible() && m.Key != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("answer with tagged fields in its header")
		}
		body = body[1:]
	}
	if m.Key == int16(kmsg.ApiVersions) && len(body) >= 2 && binary.BigEndian.Uint16(body) == 35 {
		resp.SetVersion(0) // unknown versions are answered so (KIP-511)
	}
	return resp, resp.ReadFrom(body)
}

// encodeResponse makes the frame of an answer to m.
func (m *message) encodeResponse(correlation int32, resp kmsg.Response) []byte {
	head := wire.AppendResponseHeader(nil, correlation, resp.IsFlexible() && m.Key != int16(kmsg.ApiVersions))
	return resp.AppendTo(head)
}

// summary is for people.
func (m *message) summary(resp kmsg.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s v%d client %q%s", kmsg.NameForKey(m.Key), m.Version, m.ClientID, details(m.req))
	if resp != nil {
		b.WriteString(" → " + strings.Join(errorsIn(resp), ", ") + details(resp))
	}
	return b.String()
}

// endpointAPIs are those whose answers tell addresses of brokers.
var endpointAPIs = []int16{int16(kmsg.Produce), int16(kmsg.Fetch), int16(kmsg.Metadata), int16(kmsg.FindCoordinator), int16(kmsg.DescribeCluster), int16(kmsg.ShareFetch), int16(kmsg.ShareAcknowledge)}

// redirect changes all addresses of brokers in an answer, and reports whether there were any.
func redirect(resp kmsg.Response, to func(host string, port int32) (string, int32, error)) (found bool, err error) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		host, port := v.FieldByName("Host"), v.FieldByName("Port")
		if host.IsValid() && port.IsValid() && host.Kind() == reflect.String && port.Kind() == reflect.Int32 && host.Len() > 0 && port.Int() > 0 {
			h, p, e := to(host.String(), int32(port.Int()))
			if e != nil {
				err = e
				return
			}
			host.SetString(h)
			port.SetInt(int64(p))
			found = true
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct {
				for j := range f.Len() {
					walk(f.Index(j))
				}
			}
		}
	}
	walk(reflect.ValueOf(resp).Elem())
	return found, err
}

// understood leaves in an answer to ApiVersions what this module can decode, so that it can follow the conversation.
func understood(resp *kmsg.ApiVersionsResponse) {
	resp.ApiKeys = slices.DeleteFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		req := kmsg.RequestForKey(k.ApiKey)
		return req == nil || req.MaxVersion() < k.MinVersion
	})
	for i := range resp.ApiKeys {
		k := &resp.ApiKeys[i]
		k.MaxVersion = min(k.MaxVersion, kmsg.RequestForKey(k.ApiKey).MaxVersion())
	}
}
