package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal returns both ends of a pseudo terminal: what is written to the second is read from the first.
func terminal(t *testing.T) (screen, tty *os.File) {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// slowInput is an input of known size whose second half takes a second to come.
type slowInput struct {
	text strings.Reader
	half int64
	slow bool
}

func (r *slowInput) Read(p []byte) (int, error) {
	if !r.slow && int64(r.text.Len()) < r.half {
		r.slow = true
		<-time.After(time.Second)
	}
	return r.text.Read(p[:min(len(p), 4096)])
}

func TestOnATerminalALineShowsRecordsRateAndTimeLeftAndIsGoneAtTheEnd(t *testing.T) {
	screen, tty := terminal(t)
	var text strings.Builder
	text.WriteString("id,city\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d,Oslo\n", i)
	}
	in := &slowInput{text: *strings.NewReader(text.String()), half: int64(text.Len() / 2)}
	o := options{dir: t.TempDir(), topic: "t", key: "city", compression: "none", partitions: 1}
	ended := make(chan error, 1)
	go func() {
		bad, err := run(t.Context(), o, &input{Reader: in, size: int64(text.Len())}, io.Discard, tty)
		if err == nil && bad > 0 {
			err = fmt.Errorf("%d bad rows", bad)
		}
		ended <- err
	}()
	require.NoError(t, screen.SetReadDeadline(time.Now().Add(5*time.Minute)))
	var shown []byte
	for !bytes.HasSuffix(shown, []byte("\r\x1b[K")) || !bytes.Contains(shown, []byte("ETA")) {
		b := make([]byte, 4096)
		n, err := screen.Read(b)
		require.NoError(t, err, "the terminal shows %q", shown)
		shown = append(shown, b[:n]...)
	}
	require.NoError(t, <-ended)
	require.Regexp(t, `^\r\x1b\[K\d+ records, \d+\.\d MB, \d+ records/s, \d+\.\d MB/s, ETA [0-9hms]+\r`, string(shown))
}
