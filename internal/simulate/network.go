package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Weather is how a link treats what is sent over it. The zero value delivers everything at once.
type Weather struct {
	Delay  time.Duration // at least
	Jitter time.Duration // and up to so much more

	Loss      float64 // of datagrams; over a connection it costs Retransmit
	Duplicate float64 // of datagrams
	Reorder   float64 // of datagrams: held back up to ReorderBy, while others overtake
	Replay    float64 // with a datagram, an old one arrives again, up to ReplayAfter later

	ReorderBy, ReplayAfter time.Duration
}

// Retransmit is how long what was lost on a connection takes to be sent again, at first; it doubles up to maxRetransmit.
const (
	Retransmit    = 200 * time.Millisecond
	maxRetransmit = 5 * time.Second
)

// Network carries messages between stations. A message is any value; it must not be changed once it has been sent, as it may be
// delivered twice.
type Network struct {
	sched    *Scheduler
	counts   *Counts
	seed     uint64
	stations []*station
	links    map[[2]int]*link
	weather  Weather
}

// station is an end of links.
type station struct {
	process *Process
	receive func(Message)
}

// Message is what arrives.
type Message struct {
	From, To int   // stations
	Conn     *Conn // what it came by, to answer over; nil: a datagram
	Body     any
}

// link is one direction between two stations.
type link struct {
	rng      *rand.Rand
	weather  Weather
	cuts     int           // how many faults cut it now
	clogged  time.Duration // until when nothing arrives
	last     time.Duration // arrival of the last datagram that keeps order
	past     []any         // datagrams that may be replayed
	pastNext int
}

// remembered is how many datagrams a link can replay.
const remembered = 64

// NewNetwork returns a network in which every link has that weather; counts gets what takes effect.
func NewNetwork(s *Scheduler, seed uint64, w Weather, counts *Counts) *Network {
	return &Network{sched: s, counts: counts, seed: seed, links: map[[2]int]*link{}, weather: w}
}

// Add returns the number of a new station. receive is called in the process for each message that arrives.
func (n *Network) Add(p *Process, receive func(Message)) int {
	n.stations = append(n.stations, &station{process: p, receive: receive})
	return len(n.stations) - 1
}

func (n *Network) link(from, to int) *link {
	key := [2]int{from, to}
	l := n.links[key]
	if l == nil {
		l = &link{rng: Stream(n.seed, fmt.Sprintf("link %d %d", from, to)), weather: n.weather}
		n.links[key] = l
	}
	return l
}

// SetWeather changes one direction between two stations.
func (n *Network) SetWeather(from, to int, w Weather) { n.link(from, to).weather = w }

// Cut makes one direction between two stations lose everything until as many calls of Mend.
func (n *Network) Cut(from, to int) { n.link(from, to).cuts++ }

// Mend takes one Cut back.
func (n *Network) Mend(from, to int) {
	if l := n.link(from, to); l.cuts > 0 {
		l.cuts--
	}
}

// Join takes back all Cuts between two stations, in both directions.
func (n *Network) Join(x, y int) { n.link(x, y).cuts, n.link(y, x).cuts = 0, 0 }

// Clog keeps what is sent from one station to another on its way for d at least: then all of it arrives.
func (n *Network) Clog(from, to int, d time.Duration) {
	l := n.link(from, to)
	l.clogged = max(l.clogged, n.sched.Now()+d)
}

// Heal ends all cuts and clogs and gives every link the weather w.
func (n *Network) Heal(w Weather) {
	n.weather = w
	for _, l := range n.links { // no order is visible: nothing is drawn or scheduled
		l.cuts, l.clogged, l.weather = 0, 0, w
	}
}

// Send sends a datagram.
func (n *Network) Send(from, to int, body any) {
	l := n.link(from, to)
	if l.cuts > 0 {
		n.counts.Add("datagram cut", 1)
		return
	}
	w := &l.weather
	if hits(l.rng, w.Replay) && len(l.past) > 0 {
		n.counts.Add("replay", 1)
		n.datagram(from, to, l.past[l.rng.IntN(len(l.past))], n.transit(l)+between(l.rng, 0, w.ReplayAfter))
	}
	if len(l.past) < remembered {
		l.past = append(l.past, body)
	} else {
		l.past[l.pastNext] = body
		l.pastNext = (l.pastNext + 1) % remembered
	}
	if hits(l.rng, w.Loss) {
		n.counts.Add("loss", 1)
		return
	}
	if hits(l.rng, w.Duplicate) {
		n.counts.Add("duplicate", 1)
		n.datagram(from, to, body, n.transit(l)+between(l.rng, 0, w.ReorderBy))
	}
	at := n.transit(l)
	if hits(l.rng, w.Reorder) {
		n.counts.Add("reorder", 1)
		at += between(l.rng, 0, w.ReorderBy)
	} else {
		at = max(at, l.last+1)
		l.last = at
	}
	n.datagram(from, to, body, at)
}

// transit is when what is sent now arrives.
func (n *Network) transit(l *link) time.Duration {
	at := n.sched.Now() + between(l.rng, l.weather.Delay, l.weather.Delay+l.weather.Jitter)
	if l.clogged > n.sched.Now() {
		n.counts.Add("clogged", 1)
		return max(at, l.clogged)
	}
	return at
}

func (n *Network) datagram(from, to int, body any, at time.Duration) {
	n.sched.At(at, func() {
		s := n.stations[to]
		s.process.Do(func() { s.receive(Message{From: from, To: to, Body: body}) })
	})
}

func hits(rng *rand.Rand, probability float64) bool {
	return probability > 0 && rng.Float64() < probability
}

// between draws from [low, high]; low if there is nothing above.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(rng.Int64N(int64(high-low)+1))
}
