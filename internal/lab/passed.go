package lab

// Passed counts the packets that came to a router from the site since its wire was made, whatever they are.
func (w *World) Passed(router string) (uint64, error) {
	n, err := w.space(router)
	if err != nil {
		return 0, err
	}
	link, err := n.LinkByName(siteInterface)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Statistics.RxPackets, nil
}
