package wire

import (
	"errors"
	"fmt"
)

// Reasons for which connections end; a Session and Config.Closed get them, possibly wrapped. io.EOF is a peer that closed
// between requests, io.ErrUnexpectedEOF one that closed within a frame.
var (
	// ErrServerClosed: the Server was shut down or closed.
	ErrServerClosed = errors.New("server closed")
	// ErrIdle: no request for Limits.Idle.
	ErrIdle = errors.New("idle for too long")
	// ErrHandshake: TLS handshake and authentication took longer than Limits.Handshake.
	ErrHandshake = errors.New("not authenticated in time")
	// ErrSlowFrame: the rest of a frame did not arrive in time.
	ErrSlowFrame = errors.New("the peer sends too slowly")
	// ErrSlowReply: the peer did not read a reply in time.
	ErrSlowReply = errors.New("the peer reads too slowly")
	// ErrHeader: a request does not begin with a request header.
	ErrHeader = errors.New("bad request header")
	// ErrTooManyConnections: Limits.PerAddress, or a quota, refused a connection.
	ErrTooManyConnections = errors.New("too many connections")
	// ErrCloseAfter: the Session asked for the end with Reply.CloseAfter.
	ErrCloseAfter = errors.New("closed after the reply")
)

// FrameSizeError is a size in front of a frame that is negative or above the limit.
type FrameSizeError struct {
	Size, Max int32
}

// Error says what the four bytes look like if they are the beginning of another protocol.
func (e *FrameSizeError) Error() string {
	hint := ""
	switch uint32(e.Size) {
	case 0x47455420, 0x504f5354, 0x48454144, 0x50555420: // "GET ", "POST", "HEAD", "PUT "
		hint = " (this is HTTP)"
	default:
		if uint32(e.Size)>>16 == 0x1603 {
			hint = " (this is TLS, on a listener without)"
		}
	}
	return fmt.Sprintf("frame of %d bytes, where 0 to %d are taken%s", e.Size, e.Max, hint)
}

// PanicError is a panic of a Session. It ends the connection, not the process.
type PanicError struct {
	Value any
	Stack []byte
}

// Error is the panic's value; Stack tells where.
func (e *PanicError) Error() string { return fmt.Sprintf("panic while answering: %v", e.Value) }
