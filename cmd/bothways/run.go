package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
	"bothways/internal/config"
	"bothways/internal/engine"
	"bothways/internal/fib"
	"bothways/internal/flowsweep"
	"bothways/internal/handover"
	"bothways/internal/kernel/conntrack"
	"bothways/internal/kernel/nft"
	"bothways/internal/kernel/rtnl"
	"bothways/internal/kernel/shape"
	"bothways/internal/linkwatch"
	"bothways/internal/metrics"
	"bothways/internal/nat"
	"bothways/internal/reconcile"
	"bothways/internal/route"
)

func runCommand() *cobra.Command {
	file, verbose, handed := "", false, -1
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the daemon",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			if handed >= 0 {
				return takeOver(cmd.Context(), file, verbose, handed, log)
			}
			return run(cmd.Context(), file, verbose, log)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	cmd.Flags().IntVar(&handed, "take-over", -1, "the descriptor by which the daemon that runs hands over")
	if err := cmd.Flags().MarkHidden("take-over"); err != nil {
		panic("bothways: " + err.Error())
	}
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic("bothways: " + err.Error())
	}
	return cmd
}

// compareEvery is how often the whole kernel state is read and compared.
const compareEvery = 30 * time.Second

// run starts everything, waits for a reason to stop, and stops it in order.
func run(ctx context.Context, file string, verbose bool, log *slog.Logger) error {
	c, warnings, err := loadToRun(file)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn("configuration: " + w.String())
	}
	locked, err := lock()
	if err != nil {
		return err
	}
	defer locked.Close()
	stored, err := handover.TakeStored()
	if err != nil {
		log.Warn("what was kept of a daemon that died is lost", "error", err)
	}
	d, err := newDaemon(ctx, c, file, verbose, log)
	if err != nil {
		return err
	}
	d.lock = locked
	defer d.close()
	d.recoverKept(stored)
	if err := dropPrivileges(); err != nil {
		log.Warn("running with more privileges than needed", "error", err)
	}
	return d.run(ctx)
}

type daemon struct {
	file    string
	cfg     *config.Config
	log     *slog.Logger
	rtnl    *rtnl.Handle
	nft     *nft.Handle
	engine  *engine.Engine
	speaker *speaker
	watcher *linkwatch.Watcher
	loop    *reconcile.Reconciler
	ct      *conntrack.Handle
	shape   *shape.Handle
	sweeper *flowsweep.Sweeper
	sink    linkSink
	socket  *gate
	public  *public
	lock    *net.UnixListener
	found   engine.Adopted // of the daemon before
	store   *store
	kept    *handover.Store
	bfd     *detector
	probes  *prober
	proofs  prover
	stop    chan v1.Stop
	verbose bool
	busy    chan struct{} // one token: a restart or a reload is under way
	handed  chan struct{} // one token: everything is another process's
	resume  []func()      // what stands still

	engineCtx, loopCtx, sessionCtx context.Context
	endEngine, endLoop, endSession context.CancelFunc
}

// newDaemon makes a daemon of what an earlier one may have left in the kernel.
func newDaemon(ctx context.Context, c *config.Config, file string, verbose bool, log *slog.Logger) (*daemon, error) {
	d, err := openDaemon(ctx, c, file, verbose, log)
	if err != nil {
		return nil, err
	}
	// Before anything is changed in the kernel: a daemon that cannot be asked is not started.
	ln, err := api.Listen(ctx, c.API.Socket)
	if err != nil {
		return nil, err
	}
	if d.socket, err = newGate(ln); err != nil {
		return nil, err
	}
	if err := d.public.move(ctx, c.API.Listen); err != nil {
		return nil, errors.Join(err, d.socket.Close())
	}
	if d.found, err = d.adopt(ctx); err != nil {
		return nil, err
	}
	return d, d.assemble(ctx)
}

// openDaemon opens what the daemon works through. Nothing is changed.
func openDaemon(ctx context.Context, c *config.Config, file string, verbose bool, log *slog.Logger) (*daemon, error) {
	d := &daemon{file: file, verbose: verbose, cfg: c, log: log, stop: make(chan v1.Stop, 1), busy: make(chan struct{}, 1), handed: make(chan struct{}, 1)}
	d.engineCtx, d.endEngine = context.WithCancel(ctx)
	d.loopCtx, d.endLoop = context.WithCancel(ctx)
	d.sessionCtx, d.endSession = context.WithCancel(ctx)
	var err error
	if d.rtnl, err = rtnl.Open(); err != nil {
		return nil, err
	}
	if missing, err := d.rtnl.Features(ctx); err != nil {
		return nil, err
	} else if len(missing) > 0 {
		return nil, fmt.Errorf("this kernel lacks what the edge needs: %v", missing)
	}
	if d.nft, err = nft.Open(); err != nil {
		return nil, err
	}
	if d.ct, err = conntrack.Open(); err != nil {
		return nil, err
	}
	d.sweeper = flowsweep.New(d.ct, flowSink{d}, log)
	if d.shape, err = shape.Open(); err != nil {
		return nil, err
	}
	d.loop = reconcile.New(d.rtnl, d.nft, d.shape, compareEvery, log, d.note)
	d.store = newStore(stateDir(c), c.Site, log)
	d.sink = linkSink{d.tell, d}
	d.watcher = linkwatch.New(d.rtnl, d.sink, log)
	d.kept = handover.NewStore(os.Getenv("NOTIFY_SOCKET"), log)
	d.speaker = newSpeaker(d.sessionCtx, log, d.kept, d.tell)
	d.bfd, d.probes = newDetector(log, d.kept, d.tell), newProber(log, d.tell)
	d.proofs = newProver(d.tell)
	d.public = newPublic(log)
	return d, nil
}

// assemble makes the engine, of what was found.
func (d *daemon) assemble(ctx context.Context) error {
	read := time.Now()
	all, gateways, err := linkwatch.Read(ctx, d.rtnl)
	if err != nil {
		return err
	}
	d.found.Learned = d.store.load()
	d.engine = engine.New(d.cfg, d.found, interfacesEvent(read, all, gateways), engine.Deps{
		Speaker: d.speaker, Kernel: d.loop, Watch: watchSet{d.watcher}, Flows: d.sweeper, Store: d.store, BFD: d.bfd, Probes: d.probes, Proofs: d.proofs, Log: d.log,
	})
	return nil
}

// adopt reads what an earlier daemon left in the kernel.
func (d *daemon) adopt(ctx context.Context) (engine.Adopted, error) {
	found := engine.Adopted{Numbers: map[string]route.Link{}}
	numbers, err := d.nft.Marks(ctx, nat.NumbersMap)
	if err != nil {
		return found, err
	}
	for name, n := range numbers {
		if n > 0 && n < 256 {
			found.Numbers[name] = route.Link(n)
		}
	}
	inside, err := d.nft.Interfaces(ctx, nat.InsideSet)
	if err != nil {
		return found, err
	}
	d.loop.AdoptSettings(fib.Guarded(inside))
	found.Objects, found.Routes, err = d.loop.Adopt(ctx)
	return found, err
}

// tell hands the engine an event, until the engine ends.
func (d *daemon) tell(e engine.Event) { d.engine.Tell(d.engineCtx, e) }

// tellCaptured tells the engine whom IKE is spoken with by a circuit.
func (d *daemon) tellCaptured(path string) {
	read := func(set string) ([]netip.Addr, error) { return d.nft.Addresses(d.engineCtx, set) }
	gateways, err := nat.Gateways(read, path)
	if err != nil {
		d.log.Debug("cannot read who speaks IKE", "error", err)
		return
	}
	d.tell(engine.Captured{Path: path, Gateways: gateways})
}

// note takes what the reconciler has to say.
func (d *daemon) note(n reconcile.Note) {
	if n.Kind == "applied" {
		d.tell(engine.Applied{Sequence: n.Sequence, At: n.Time})
		return
	}
	d.tell(engine.Happened{At: n.Time, Kind: n.Kind, Subject: "kernel", Text: n.Text})
}

func (d *daemon) close() {
	d.endSession()
	d.endEngine()
	d.endLoop()
	d.ct.Close()
	d.shape.Close()
	d.nft.Close()
	d.rtnl.Close()
}

func (d *daemon) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	failed := make(chan error, 8)
	var engines, loops, others sync.WaitGroup
	start := func(wg *sync.WaitGroup, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				failed <- err
			}
		})
	}
	start(&loops, func() error { return d.loop.Run(d.loopCtx) })
	start(&engines, func() error { return d.engine.Run(d.engineCtx) })
	start(&others, func() error {
		return d.rtnl.Watch(d.engineCtx, func(e rtnl.Event) { kernelEvent(e, d.sink, d.watcher, d.loop) })
	})
	start(&others, func() error { return d.watcher.Run(d.engineCtx) })
	start(&others, func() error { return d.sweeper.Run(d.engineCtx) })
	start(&others, func() error { return d.bfd.Run(d.sessionCtx) })
	start(&others, func() error { return d.probes.Run(d.engineCtx) })
	start(&others, func() error { return d.proofs.Run(d.engineCtx) })
	start(&others, func() error {
		return flowsweep.Watch(d.engineCtx, d.nft.Counters, d.log, func(name string, packets uint64) {
			if c, ok := nat.ParseCrossing(name); ok {
				d.tell(engine.Asymmetric{Crossing: c, Packets: packets, Remotes: d.remotes(c)})
			}
			if path, ok := nat.ParseVPN(name); ok {
				d.tellCaptured(path)
			}
		})
	})
	start(&others, func() error {
		return flowsweep.WatchFill(d.engineCtx, d.ct.Fill, d.log, func(count, limit int) { d.tell(engine.Filled{Count: count, Limit: limit}) })
	})
	start(&others, func() error { return d.store.Run(d.engineCtx) })
	d.speaker.goOn()
	start(&others, func() error { return d.speaker.listener.Run(d.sessionCtx) })
	deps := d.apiDeps()
	start(&others, func() error { return api.Serve(d.sessionCtx, d.socket, deps) })
	start(&others, func() error { return d.public.Run(d.sessionCtx, deps.Metrics) })
	d.log.Info("running", "site", d.cfg.Site, "version", thisVersion().Version, "pid", os.Getpid())
	if err := d.kept.Tell(fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid())); err != nil {
		d.log.Warn("cannot tell the service manager", "error", err)
	}
	// After that word, and to the end: what ends is not to be kept.
	var last sync.WaitGroup
	lastCtx, endLast := context.WithCancel(context.WithoutCancel(ctx))
	defer endLast()
	start(&last, func() error { return d.kept.Run(lastCtx) })

	var stop v1.Stop
	var err error
	left := false
wait:
	for {
		select {
		case <-ctx.Done():
			break wait
		case err = <-failed:
			break wait
		case stop = <-d.stop:
			break wait
		case <-d.handed:
			left = true
			break wait
		case s := <-signals:
			if s != syscall.SIGHUP {
				break wait
			}
			if err := d.reload(ctx); err != nil {
				d.log.Error("configuration not taken, the old one stays", "error", err)
			}
		}
	}
	if !left {
		select { // a restart comes to its end first, one way or the other
		case d.busy <- struct{}{}:
		case <-d.handed:
			left = true
			if err := api.NewClient(d.cfg.API.Socket).Post(context.WithoutCancel(ctx), "stop", stop); err != nil {
				d.log.Error("the process that took over is not stopped", "error", err)
			}
		}
	}
	if left {
		d.leave()
		engines.Wait()
		loops.Wait()
	} else {
		d.end(stop, &engines, &loops)
	}
	others.Wait()
	endLast()
	last.Wait()
	return err
}

// maxRemotes bounds the addresses that go with word of asymmetric packets.
const maxRemotes = 16

// remotes are some of the addresses at the other end of asymmetric packets.
func (d *daemon) remotes(c nat.Crossing) []netip.Addr {
	var out []netip.Addr
	for _, f := range route.Families() {
		list, err := d.nft.Addresses(d.engineCtx, c.Set(f))
		if err != nil {
			d.log.Debug("cannot read addresses", "set", c.Set(f), "error", err)
		}
		out = append(out, list[:min(len(list), maxRemotes)]...)
	}
	return out
}

// end stops in this order: first what decides, so that the end of the sessions takes no route away; then the kernel's
// last changes; then the sessions, with a word to the neighbors.
func (d *daemon) end(stop v1.Stop, engines, loops *sync.WaitGroup) {
	d.log.Info("stopping", "withdraw", stop.Withdraw)
	if stop.Withdraw {
		reply := make(chan struct{})
		d.tell(engine.Withdraw{Reply: reply})
		select {
		case <-reply:
		case <-d.engineCtx.Done():
		}
	}
	d.endEngine()
	engines.Wait()
	d.endLoop()
	loops.Wait()
	text := stop.Message
	if text == "" {
		text = "site " + d.cfg.Site + " stops"
	}
	// To a neighbor that hears no more of us the link would seem to have failed.
	d.bfd.Detect(nil)
	d.speaker.Shutdown(text)
	d.endSession()
}

// reload replaces the configuration, or says why the old one stays.
func (d *daemon) reload(ctx context.Context) error {
	if err := d.begin(); err != nil {
		return err
	}
	defer d.done()
	c, warnings, err := loadToRun(d.file)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		d.log.Warn("configuration: " + w.String())
	}
	if c.API.Socket != d.cfg.API.Socket || stateDir(c) != stateDir(d.cfg) || c.Mark != d.cfg.Mark || c.Site != d.cfg.Site {
		return errors.New(d.file + ": site, mark, state and api.socket cannot change while the daemon runs: restart it")
	}
	if err := d.public.move(ctx, c.API.Listen); err != nil {
		return err
	}
	return d.engine.Reload(ctx, c)
}

func (d *daemon) apiDeps() api.Deps {
	return api.Deps{
		Engine: d.engine, Kernel: d.loop.Status, Sessions: d.speaker.Sessions, Counters: d.nft.Counters, Addresses: d.nft.Addresses, Flows: d.ct.Flows,
		Reload: d.reload, Restart: d.restart, Version: thisVersion(), Log: d.log,
		Metrics: metrics.Handler(metrics.Deps{
			Snapshot: d.engine.Snapshot, Kernel: d.loop.Status, Sessions: d.speaker.Sessions, Counters: d.nft.Counters, Version: thisVersion(), Log: d.log,
		}),
		Stop: func(s v1.Stop) {
			select {
			case d.stop <- s:
			default:
			}
		},
	}
}
