package peer

import "net"

// What is written with one system call at most, but for one large frame, so that what is urgent waits for little.
const (
	batchFrames = 128
	batchBytes  = 1 << 20
	copiedBytes = 4 << 10 // pieces up to this are copied to where the heads are
)

// write writes what is queued until the connection ends, and releases all of it.
func (l *link) write() {
	sequence := l.first
	w := frameWriter{conn: l.conn}
	_, w.vectors = l.conn.(*net.TCPConn)
	var batch []frame
	for {
		batch = l.collect(batch[:0])
		if len(batch) == 0 {
			break
		}
		n, err := w.write(batch, &sequence)
		l.written.Add(uint64(n))
		bye := batch[len(batch)-1].typ == frameBye
		release(batch)
		if err == nil && bye {
			err = ErrClosed
		}
		if err != nil {
			l.fail(err)
		}
	}
	l.mu.Lock()
	urgent, queue := l.urgent, l.queue
	l.urgent, l.queue = nil, nil
	l.mu.Unlock()
	release(urgent)
	release(queue)
}

func release(frames []frame) {
	for i := range frames {
		if f := frames[i].release; f != nil {
			f()
		}
		frames[i] = frame{}
	}
}

// collect waits for frames and takes them: urgent ones, then messages, then calls and answers. None is the end.
func (l *link) collect(batch []frame) []frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = false
	for {
		if l.err != nil {
			return nil
		}
		bytes := 0
		room := func() bool { return len(batch) < batchFrames && bytes < batchBytes }
		from := func(q *[]frame) {
			n := 0
			for n < len(*q) && room() {
				batch = append(batch, (*q)[n])
				bytes += (*q)[n].bytes
				(*q)[n] = frame{}
				n++
			}
			if *q = (*q)[n:]; len(*q) == 0 {
				*q = nil
			}
		}
		from(&l.urgent)
		for l.messages != nil && room() {
			m, ok := l.messages.pop()
			if !ok {
				break
			}
			if len(m.body) > l.maxFrame {
				continue
			}
			batch = append(batch, frame{typ: frameMessage, kind: m.kind, one: m.body, bytes: len(m.body)})
			bytes += len(m.body)
		}
		from(&l.queue)
		if len(batch) > 0 {
			l.writing = true
			l.wrote.Store(true)
			return batch
		}
		l.wake.Wait()
	}
}

// poke makes the writer look at the messages.
func (l *link) poke() {
	l.mu.Lock()
	l.wake.Signal()
	l.mu.Unlock()
}

// frameWriter writes frames with few system calls: what is small goes to one buffer together with the heads, what is large stays where it is.
type frameWriter struct {
	conn    net.Conn
	vectors bool // the connection writes several pieces at once
	small   []byte
	out     [][]byte
}

func (w *frameWriter) write(batch []frame, sequence *uint64) (int64, error) {
	need := len(batch) * (sizeBytes + headBytes)
	for i := range batch {
		if f := &batch[i]; len(f.one) <= copiedBytes {
			need += len(f.one)
		}
		for _, piece := range batch[i].pieces {
			if len(piece) <= copiedBytes {
				need += len(piece)
			}
		}
	}
	if cap(w.small) < need { // it never grows below: out points into it
		w.small = make([]byte, 0, max(need, 4<<10))
	}
	small, out, begun := w.small[:0], w.out[:0], 0
	for i := range batch {
		f := &batch[i]
		small = appendHead(small, head{*sequence, f.typ, f.kind, f.correlation, f.aux}, f.bytes)
		*sequence++
		one := [1][]byte{f.one}
		pieces := one[:]
		if f.pieces != nil {
			pieces = f.pieces
		}
		for _, piece := range pieces {
			if len(piece) <= copiedBytes {
				small = append(small, piece...)
				continue
			}
			out = append(out, small[begun:], piece)
			begun = len(small)
		}
	}
	if begun < len(small) {
		out = append(out, small[begun:])
	}
	w.out = out
	if cap(w.small) > 256<<10 { // a rare batch
		w.small = nil
	}
	var n int64
	var err error
	if w.vectors {
		buffers := net.Buffers(out)
		n, err = buffers.WriteTo(w.conn)
	} else {
		for _, piece := range out {
			var m int
			m, err = w.conn.Write(piece)
			if n += int64(m); err != nil {
				break
			}
		}
	}
	clear(w.out)
	return n, err
}
