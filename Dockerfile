# ROS 2 Jazzy with this package. It has not been built by those who wrote it: they had no registry of images at hand.
#     docker build -t querydiff_ros . && docker run --rm --network host querydiff_ros
FROM ros:jazzy-ros-base
WORKDIR /ws
COPY . src/querydiff_ros
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rosdep update \
    && rosdep install --from-paths src --ignore-src -y \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages venv && touch venv/COLCON_IGNORE
ENV PATH=/ws/venv/bin:$PATH
RUN pip install --no-cache-dir onnxruntime rosbags mcap av 'numpy<2' 'rich>=13' \
    && . /opt/ros/jazzy/setup.sh \
    && python -m colcon build
ENTRYPOINT ["bash", "-c", "source install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "querydiff_ros", "segment.launch.py"]
