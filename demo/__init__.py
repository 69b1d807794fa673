# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make demo``: a broker and two agent hosts on this machine, and agents deployed to them."""
