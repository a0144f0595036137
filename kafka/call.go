package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// call is one request on its way through a handler. It belongs to the connection's goroutine and is reused for the next
// request, so nothing of it is kept after the handler has returned but what has been copied.
type call struct {
	// ctx ends when the connection is lost, the broker stops, or a shutdown wants waiting requests to answer what they have.
	ctx         context.Context
	key         int16
	version     int16
	correlation int32
	clientID    string // empty if null
	req         kmsg.Request
	frame       []byte // as it came, without its size; valid until the answer has been written

	// throttle is what quotas ask for (KIP-219): it goes into the answer, and the connection is mute for as long.
	throttle time.Duration
	// delay holds the answer back: failed authentication.
	delay time.Duration
	// release gives back what the answer borrows; called once, after the answer has been written or dropped.
	release func()
	// quiet says that no answer is sent (acks=0).
	quiet bool
	// closing, if not nil, ends the connection once the answer has been written.
	closing error
}

// handler answers one request. An error closes the connection without an answer and is its reason.
type handler func(s *session, c *call) (kmsg.Response, error)

// Call is one decoded request, as an Interceptor sees it. It is valid until the answer has been written; Request may be
// changed before next is called.
type Call struct {
	Context     context.Context
	Broker      int32  // node id
	Listener    string // its name
	Conn        ConnInfo
	Key         int16
	Version     int16
	ClientID    string
	Correlation int32
	Request     kmsg.Request
	Frame       []byte // header and body as they came
}

// ConnInfo names a connection.
type ConnInfo struct {
	ID        uint64 // unique in its Server
	Remote    string // address of the client
	Principal string // as "User:name"; "User:ANONYMOUS" before or without authentication
}

// Answer is what goes back to a client.
type Answer struct {
	// Response is sent in the request's version; nil sends nothing, as for acks=0.
	Response kmsg.Response
	// Raw, if not nil, gets the encoded frame, without its size, and returns what is sent instead.
	Raw func(frame []byte) []byte
	// Close ends the connection after what there is to write has been written.
	Close bool
	// Err ends the connection at once, without an answer, and is its reason.
	Err error
	// Delay holds the answer back for as long by the system's clock; later requests of the connection wait. A hook that goes
	// by another clock waits itself, until Call.Context ends.
	Delay time.Duration
}

// Interceptor wraps every request after it has been decoded. next handles it and may be called once, or never: then the
// request has no effect. Its answer may be changed. It is called on the connection's goroutine, by many connections at
// once; a wait in it must end with Call.Context.
type Interceptor func(c *Call, next func() Answer) Answer
