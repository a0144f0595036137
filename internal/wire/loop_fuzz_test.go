package wire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// fuzzMaxFrame keeps the frames of the fuzzer small, and has some of them longer than a connection's own buffer.
const fuzzMaxFrame = 8 << 10

// expected is what a server that echoes sends for these bytes: the frames up to the first that is impossible or cut off.
func expected(sent []byte) []byte {
	var replies []byte
	for len(sent) >= 4 {
		size := int32(binary.BigEndian.Uint32(sent))
		if size < 0 || size > fuzzMaxFrame || int(size) > len(sent)-4 {
			break
		}
		replies = append(replies, sent[:4+size]...)
		sent = sent[4+size:]
	}
	return replies
}

// Whatever the bytes, and however they are cut, the whole frames are answered, the rest closes the connection, and another
// connection does not notice.
func FuzzConnectionLoop(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01x\x00\x00\x00\x00\x00\x00\x00\x02yz\xff"), uint16(3))
	f.Add(append(framed(make([]byte, 1021)), framed(make([]byte, 1020))...), uint16(1000))
	f.Add(append(framed(make([]byte, 5000)), framed([]byte("after"))...), uint16(1500))
	f.Add(append(append(framed(make([]byte, 900)), framed(make([]byte, 900))...), framed(make([]byte, 8192))...), uint16(1<<15))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(1))
	f.Add([]byte("\x7f\xff\xff\xff"), uint16(4))
	network := memnet.New()
	l, err := network.Listen(at)
	if err != nil {
		f.Fatal(err)
	}
	budget := wire.NewBudget(32 << 10)
	s := wire.NewServer(wire.Config{Budget: budget, Limits: wire.Limits{MaxFrame: fuzzMaxFrame}})
	go s.Serve(l, handler{})
	f.Cleanup(func() { s.Close() })
	other, err := network.DialContext(context.Background(), "", at)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent []byte, chunk uint16) {
		c, err := network.DialContext(context.Background(), "", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			for p := sent; len(p) > 0; {
				n, err := c.Write(p[:min(len(p), int(chunk)+1)])
				if err != nil {
					return // the server has closed
				}
				p = p[n:]
			}
			c.(*memnet.Conn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if want := expected(sent); err != nil || !bytes.Equal(want, got) {
			t.Fatalf("%d bytes came back of %d: %v", len(got), len(want), err)
		}
		if reply := ask(t, other, "still there?"); reply != "still there?" {
			t.Fatalf("another connection was told %q", reply)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03abc"), uint16(0))
	f.Add([]byte("\x00\x00\x00\x03ab"), uint16(2))
	f.Fuzz(func(t *testing.T, sent []byte, room uint16) {
		want := expected(sent)
		r := bytes.NewReader(sent)
		for len(want) > 0 {
			frame, err := wire.ReadFrame(r, fuzzMaxFrame, make([]byte, 0, room))
			if err != nil || !bytes.Equal(frame, want[4:4+len(frame)]) || len(frame) != int(binary.BigEndian.Uint32(want)) {
				t.Fatalf("%q: %v", frame, err)
			}
			want = want[4+len(frame):]
		}
		if frame, err := wire.ReadFrame(r, fuzzMaxFrame, nil); err == nil {
			t.Fatalf("a frame of nothing: %q", frame)
		}
	})
}
